"""Calibration: measuring which effort keeps which recall on an index, and storing it."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.search import DEFAULT_RECALL, Effort, SearchOptions, choose_effort
from serotine.index.store import Calibration, Origin, Snapshot, Store
from serotine.index.tuning.measurement import DEPTHS, Measurement, efforts
from serotine.index.tuning.own_queries import OwnQuery, own_queries
from serotine.progress import progress_bar

_log = logging.getLogger("serotine.index")

# Queries that `tune` makes, and the fewest that are worth storing.
QUERIES, MIN_QUERIES = 300, 64
# Queries measured between two looks at the clock.
_BATCH = 16
# Share of the time of building that calibrating by itself may take.
_SHARE = 0.05
# Seconds on one thread per query, token and dimension, roughly: an exact search, and searches of rising effort.
_SECONDS = 6e-10
# Misses of queries made from an index's own documents are taken for this many of real queries, by depth. On package
# descriptions real queries miss so much more; on scientific abstracts they miss less (benchmarks/recall.py).
MARGINS: dict[Origin, dict[int, float]] = {
    "given": {10: 1.0, 100: 1.0},
    "sentences": {10: 4.0, 100: 2.5},
    "tokens": {10: 3.0, 100: 2.0},
}


@dataclass(frozen=True, slots=True)
class TuneReport:
    """Report of `Index.tune`.

    Attributes:
        statement: what was measured, in words; where nothing had to be, why.
        calibration: what was measured and stored; None where every document is scored exactly.
    """

    statement: str
    calibration: Calibration | None


class Tuner:
    """Calibrations of one store; requires the writer lock.

    Args:
        store: the index.
        encoder: encodes sentences of its texts.
    """

    def __init__(self, store: Store, encoder: RecordedEncoder) -> None:
        self._store = store
        self._encoder = encoder

    def tune(self, queries: Sequence[NDArray[np.float32]] | None, *, show_progress: bool) -> TuneReport:
        """Measure the recall with the given queries, or with queries made from the documents; store it."""
        snapshot = self._store.snapshot()
        if not _is_coded(snapshot):
            return TuneReport(
                f"No calibration is needed: all of the {snapshot.documents:,} documents are scored exactly.", None
            )
        if queries is None:
            with_texts = self._store.settings.encoder is not None
            origin, made = own_queries(self._store, snapshot, self._encoder, QUERIES, with_texts=with_texts)
            calibration = self._measure(snapshot, origin, itertools.islice(made, QUERIES), QUERIES, None, show_progress)
        else:
            given = (OwnQuery(query, -1) for query in queries)
            calibration = self._measure(snapshot, "given", given, len(queries), None, show_progress)
        if calibration is None:
            return TuneReport("Not calibrated: no document has enough tokens for a query; pass queries.", None)
        return TuneReport(describe_recall(calibration), calibration)

    def tune_if_due(self, seconds: float, *, show_progress: bool) -> bool:
        """Measure an index whose calibration is missing or outdated, within its share of the `seconds` of building.

        Return whether nothing is due any more; False where too few queries fit into that time.
        """
        snapshot = self._store.snapshot()
        if snapshot.calibration is not None or not _is_coded(snapshot) or snapshot.documents < MIN_QUERIES:
            return True
        allowed = _SHARE * seconds
        tokens = sum(record.tokens for record in snapshot.records)
        needed = MIN_QUERIES * _SECONDS * tokens * self._store.settings.dim / maxsim.num_threads()
        if needed > allowed:
            return False
        deadline = time.monotonic() + allowed
        # An encoder that nobody has needed yet is not loaded for this.
        origin, made = own_queries(self._store, snapshot, self._encoder, QUERIES, with_texts=self._encoder.loaded)
        limited = itertools.islice(made, QUERIES)
        return self._measure(snapshot, origin, limited, QUERIES, deadline, show_progress) is not None

    def _measure(
        self,
        snapshot: Snapshot,
        origin: Origin,
        queries: Iterable[OwnQuery],
        count: int,
        deadline: float | None,
        show_progress: bool,
    ) -> Calibration | None:
        """Measure and store; None where there are no queries, or where time for enough of them is lacking."""
        measurement = Measurement(snapshot)
        with progress_bar(count, "Measuring recall", enabled=show_progress) as advance:
            stream = iter(queries)
            while batch := list(itertools.islice(stream, _BATCH)):
                measurement.add([query.vectors for query in batch], [query.document for query in batch])
                advance(len(batch))
                if deadline is not None and time.monotonic() > deadline:
                    break
        if not measurement.queries or (deadline is not None and measurement.queries < MIN_QUERIES):
            _log.info("%s: no time to measure recall", self._store.folder)
            return None
        newest = self._store.catalog.codebooks()[max(snapshot.codebooks)]
        calibration = Calibration(
            newest.file.checksum,
            sum(record.tokens for record in snapshot.records),
            measurement.queries,
            origin,
            datetime.now(UTC).isoformat(timespec="seconds"),
            measurement.curves(MARGINS[origin]),
        )
        with self._store.transaction() as transaction:
            transaction.set_calibration(calibration)
        _log.info("%s: measured recall with %d queries", self._store.folder, measurement.queries)
        return calibration


def _is_coded(snapshot: Snapshot) -> bool:
    """Return whether searches depend on their effort: whether more documents have codes than any effort scores."""
    coded = sum(view.documents for view in snapshot.segments.values() if view.segment.codes is not None)
    return coded > efforts(DEPTHS[0], coded)[0]


def describe_recall(calibration: Calibration | None) -> str:
    """Return what was measured on an index with codes, and what it means for searches."""
    if calibration is None:
        return "Not measured: searches take the effort of another collection until the index is tuned."
    chosen = {depth: choose_effort(SearchOptions(depth), depth, calibration) for depth in DEPTHS}
    kept = ", ".join(f"{_candidates(effort)} for k={depth}" for depth, effort in chosen.items())
    made = {"given": "the queries given", "sentences": "sentences of the documents", "tokens": "runs of their tokens"}
    count = calibration.queries
    statement = (
        f"Measured with {count:,} {'query' if count == 1 else 'queries'} ({made[calibration.origin]}): "
        f"recall {DEFAULT_RECALL} takes {kept}."
    )
    if count >= MIN_QUERIES:
        return statement
    return (
        f"{statement} Fewer than {MIN_QUERIES} queries prove little, so searches may do more than they need: "
        "tune with a few hundred."
    )


def _candidates(effort: Effort) -> str:
    return "an exact search" if effort.candidates is None else f"{effort.candidates:,} candidates"
