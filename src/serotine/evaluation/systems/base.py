"""The interface of systems, and the record of their encoders."""

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
    """The run of a system on a collection.

    Attributes:
        run: the documents of every query, best first; empty for a query without hits.
        record: the settings: exact or approximate, dtype, query length, marker position, seconds.
        notes: remarks that a reader of the figures should see.
    """

    run: Run
    record: dict[str, Any]
    notes: list[str] = field(default_factory=list)


class System(Protocol):
    """A retrieval system that can be evaluated."""

    @property
    def name(self) -> str:
        """The name of the system."""
        ...

    @property
    def key(self) -> str:
        """A string that changes whenever the run might."""
        ...

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """Return the `depth` best documents of every query."""
        ...


def encoder_for_collection(encoder: TextEncoder, collection: Collection) -> TextEncoder:
    """Return the encoder with the query length of published figures of a collection.

    Unchanged: encoders loaded with a query length, dense encoders, and encoders without such a setting.
    """
    spec = getattr(encoder, "spec", None)
    length = benchmarks.query_length(collection.name, collection.benchmark)
    if length is None or spec is None or spec.origin == "dense" or "query_length" in getattr(encoder, "options", {}):
        return encoder
    adjusted: TextEncoder = encoder.with_query_length(length)  # type: ignore[attr-defined]
    return adjusted


def encoder_record(encoder: TextEncoder) -> dict[str, Any]:
    """Return the settings of an encoder that a figure must state."""
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
    """Return the position of the markers "[Q] " and "[D] ": "after_first", "prepend", or "none"."""
    if spec.query.marker is not None:
        return "after_first"
    if any(marker and spec.query.prompt.startswith(marker) for marker in spec.markers):
        return "prepend"
    return "none"
