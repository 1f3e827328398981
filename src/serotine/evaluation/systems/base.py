"""What every system has in common: a name, an answer, and what is told of its encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from serotine.evaluation.data import benchmarks
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Run

if TYPE_CHECKING:
    from serotine.index import TextEncoder


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system found.

    Attributes:
        run: best first; a query that found nothing has an empty answer.
        record: how: exact or approximate, dtype, query length, marker layout, seconds.
        notes: what a reader of the numbers should be told.
    """

    run: Run
    record: dict[str, Any]
    notes: list[str] = field(default_factory=list)


class System(Protocol):
    """Something that answers a collection's questions."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def key(self) -> str:
        """Changes whenever the answers might."""
        ...

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """The `depth` best documents of every query."""
        ...


def encoder_for_collection(encoder: TextEncoder, collection: Collection) -> TextEncoder:
    """The encoder with the query length that published figures of a collection use.

    Left alone: an encoder whose query length was chosen by who loaded it; a dense one, which has no length for queries
    of their own; one that has no such setting.
    """
    spec = getattr(encoder, "spec", None)
    wanted = benchmarks.query_length(collection.name, collection.benchmark)
    if wanted is None or spec is None or spec.origin == "dense" or "query_length" in getattr(encoder, "options", {}):
        return encoder
    changed: TextEncoder = encoder.with_query_length(wanted)  # type: ignore[attr-defined]
    return changed


def encoder_record(encoder: TextEncoder) -> dict[str, Any]:
    """What a number must say of the encoder it came from."""
    record: dict[str, Any] = {"encoder": encoder.name, "fingerprint": encoder.fingerprint}
    spec = getattr(encoder, "spec", None)
    if spec is not None:
        record |= {
            "query_length": spec.query.length,
            "document_length": spec.document.length,
            "query_expansion": spec.query.expansion is not None,
            "marker_position": marker_position(spec),
            "options": getattr(encoder, "options", {}),
        }
    return record


def marker_position(spec: Any) -> str:
    """Where "[Q] " and "[D] " stand: "after_first", "prepend", or "none"."""
    if spec.query.marker is not None:
        return "after_first"
    if any(marker and spec.query.prompt.startswith(marker) for marker in spec.markers):
        return "prepend"
    return "none"
