"""Housekeeping: what a writer does between changes, so that an index that grows stays quick to search.

New documents form the head: segments of float16 vectors, scored whole. When the head has grown, its documents are
encoded by the codebook; segments of like size are merged, so that a collection of n tokens has O(log n) of them; a
codebook is trained when there are tokens enough, again when the collection has outgrown it, and again when new tokens
do not fit it. Every job is one transaction: a crash leaves the state before it or after it, and never loses a document.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from serotine.errors import IndexDamagedError, SerotineError
from serotine.index.files.codebook import centroids_for, sample_size
from serotine.index.files.segment import SEGMENT_FOLDER, Segment, SegmentRecord
from serotine.index.growth import codebook_training, kmeans, rewrite
from serotine.index.store import catalog as catalogs
from serotine.index.store import creation
from serotine.index.store.catalog import Catalog
from serotine.index.store.snapshot import Part, Snapshot
from serotine.progress import progress_bar

# Tokens from which on a codebook is trained; below, scoring every float16 vector takes a few milliseconds.
FIRST_TRAINING = 1 << 17
# Tokens from which on the head is encoded: scoring so many float16 vectors takes one or two milliseconds.
HEAD_TOKENS = 1 << 14
# A codebook serves until the collection has this many times the tokens it was trained for.
OUTGROWN = 4
# New tokens do not fit a codebook whose error on them is this many times that on the tokens it was trained on.
DRIFTED = 1.25
# Segments of like size that are merged at once, and the tokens of the smallest size told apart.
FAN_IN = 8
_SMALLEST = 1024
# A segment is rewritten without its deleted documents when so many of its documents are.
_MOSTLY_DELETED = 0.5

_EXPECTED_TOKENS = "expected_tokens"


class Kind(Enum):
    """What a job does."""

    TRAIN = "train a codebook"
    SEAL = "encode the head"
    MERGE = "merge segments"


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do, with the numbers of the segments it replaces."""

    kind: Kind
    segments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A segment as the policy sees it."""

    number: int
    codebook: int | None
    documents: int
    live: int
    tokens: int


def shapes(snapshot: Snapshot) -> list[Shape]:
    """The segments of a snapshot, in the order of their documents."""
    return [
        Shape(number, part.segment.record.codebook, part.numbers.size, part.documents, part.segment.record.tokens)
        for number, part in snapshot.parts.items()
    ]


def next_job(
    segments: Sequence[Shape], codebook: int | None, codebook_tokens: int, expected: int, sample: int
) -> Job | None:
    """The most urgent job, or None.

    Args:
        segments: in the order of their documents.
        codebook: the newest codebook's number, or None.
        codebook_tokens: how many tokens it was trained for.
        expected: how many tokens the collection is expected to come to; 0 where nothing is known.
        sample: how many tokens a codebook for a collection of that size is trained on.
    """
    for shape in segments:
        if shape.live < shape.documents * (1 - _MOSTLY_DELETED) and (shape.tokens > _SMALLEST or not shape.live):
            return Job(Kind.MERGE, (shape.number,))
    head = [shape for shape in segments if shape.codebook is None]
    waiting = sum(shape.tokens for shape in head)
    total = sum(shape.tokens for shape in segments)
    if codebook is None:
        # A stream of known length first fills the sample of the codebook that all of it will need.
        if waiting >= max(FIRST_TRAINING, min(sample, expected)):
            return Job(Kind.TRAIN)
    elif waiting >= HEAD_TOKENS:
        if total > OUTGROWN * max(codebook_tokens, expected):
            return Job(Kind.TRAIN)
        return Job(Kind.SEAL, tuple(shape.number for shape in head))
    return _next_merge(head) or _next_merge([shape for shape in segments if shape.codebook is not None])


def _next_merge(segments: Sequence[Shape]) -> Job | None:
    """The newest FAN_IN or more segments that are alike in size and codebook."""
    for size in range(64):
        run: list[int] = []
        for shape in reversed(segments):
            if shape.codebook != segments[-1].codebook or shape.tokens >= _SMALLEST * FAN_IN**size:
                break
            run.append(shape.number)
        if len(run) >= FAN_IN:
            return Job(Kind.MERGE, tuple(reversed(run)))
        if len(run) == len(segments):
            break
    return None


class Housekeeper:
    """Does the jobs of one index; for who holds the writer's lock.

    `current` gives the newest snapshot, `committing` a transaction after which the next snapshot is read anew.
    """

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        current: Callable[[], Snapshot],
        committing: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._current = current
        self._committing = committing

    def expect(self, documents: int) -> None:
        """Records how many tokens so many documents will have, going by those that are there."""
        records = self._current().records
        stored = sum(record.documents for record in records)
        expected = int(sum(record.tokens for record in records) / max(stored, 1) * documents)
        # Within a factor of two the codebook would be the same: no need to write.
        if expected and not expected / 2 <= self._expected() <= expected * 2:
            self._set_expected(expected)

    def expect_no_more(self) -> None:
        """What was expected has come: nothing waits for more of it."""
        if self._expected():
            self._set_expected(0)

    def _expected(self) -> int:
        return int(self._catalog.value(_EXPECTED_TOKENS) or 0)

    def _set_expected(self, tokens: int) -> None:
        with self._committing() as connection:
            catalogs.set_value(connection, _EXPECTED_TOKENS, tokens)

    def tidy(self, *, show_progress: bool = False) -> None:
        """Does what is due."""
        while (job := self._due()) is not None:
            self._do(job, show_progress=show_progress)

    def compact(self, *, show_progress: bool = False) -> None:
        """Brings everything into as few segments as can be, without deleted documents.

        Where vectors are kept, a codebook is trained anew unless the newest was trained for a collection like this,
        and everything is encoded by it. Where they are not, codes stay as they are: encoding what codes rebuild would
        lose twice.
        """
        snapshot = self._current()
        total = sum(record.tokens for record in snapshot.records)
        book = self._newest(snapshot)
        settings = self._catalog.settings
        if total >= FIRST_TRAINING and (book is None or (settings.keep_vectors and self._stale(snapshot, total))):
            self._train(show_progress=show_progress)
        snapshot = self._current()
        book = self._newest(snapshot)
        if book is not None:
            kept = {n: part.segment.record for n, part in snapshot.parts.items() if part.segment.vectors is not None}
            # What becomes one segment must lie together: between old codes and the head there may be newer codes.
            outdated = any(record.codebook not in (None, book) for record in kept.values())
            again = [number for number, record in kept.items() if outdated or record.codebook != book]
            if again:
                self._replace(again, book, show_progress=show_progress)
        runs: dict[int | None, list[int]] = {}
        snapshot = self._current()
        for number, part in snapshot.parts.items():
            runs.setdefault(part.segment.record.codebook, []).append(number)
        for run in runs.values():
            if len(run) > 1 or snapshot.parts[run[0]].live is not None:
                self._merge(run, show_progress=show_progress)
        with self._committing() as connection:
            catalogs.remove_unused_codebooks(connection)
        # Readers that have the replaced files open keep them until they let go.
        creation.sweep(self._folder, self._catalog)

    def _stale(self, snapshot: Snapshot, total: int) -> bool:
        newest = max(snapshot.codebooks)
        trained_for = self._trained_for(newest)
        others = any(record.codebook not in (None, newest) for record in snapshot.records)
        return others or not trained_for / OUTGROWN <= total <= trained_for * OUTGROWN

    def _centroids(self, tokens: int) -> int:
        return self._catalog.settings.centroids or centroids_for(tokens)

    def _trained_for(self, codebook: int) -> int:
        return self._catalog.codebooks()[codebook].tokens

    @staticmethod
    def _newest(snapshot: Snapshot) -> int | None:
        return max(snapshot.codebooks, default=None)

    def _due(self) -> Job | None:
        snapshot = self._current()
        newest = self._newest(snapshot)
        trained_for = 0 if newest is None else self._trained_for(newest)
        expected = self._expected()
        sample = sample_size(self._centroids(expected), self._catalog.settings.dim)
        job = next_job(shapes(snapshot), newest, trained_for, expected, sample)
        if job is not None and job.kind is Kind.SEAL and newest is not None and self._drifted(snapshot, job, newest):
            return Job(Kind.TRAIN)
        return job

    def _drifted(self, snapshot: Snapshot, job: Job, newest: int) -> bool:
        head = [snapshot.parts[number].segment for number in job.segments]
        waiting = sum(segment.record.tokens for segment in head)
        if waiting < FIRST_TRAINING:
            return False
        book = snapshot.codebooks[newest]
        points = codebook_training.sample(head, codebook_training.MEASURED, self._catalog.settings.dim)
        return book.mean_error(points, self._catalog.settings.nbits) > DRIFTED * book.usual_error

    def _do(self, job: Job, *, show_progress: bool) -> None:
        if job.kind is Kind.TRAIN:
            self._train(show_progress=show_progress)
            snapshot = self._current()
            head = [number for number, part in snapshot.parts.items() if part.segment.codes is None]
            self._replace(head, max(snapshot.codebooks), show_progress=show_progress)
        elif job.kind is Kind.SEAL:
            self._replace(list(job.segments), max(self._current().codebooks), show_progress=show_progress)
        else:
            self._merge(list(job.segments), show_progress=show_progress)
        # Readers that have the replaced files open keep them until they let go.
        creation.sweep(self._folder, self._catalog)

    def _train(self, *, show_progress: bool) -> None:
        snapshot = self._current()
        settings = self._catalog.settings
        tokens = sum(record.tokens for record in snapshot.records)
        goal = max(tokens, self._expected())
        centroids = self._centroids(goal)
        segments = [part.segment for part in snapshot.parts.values()]
        with progress_bar(kmeans.STEPS, "Training a codebook", enabled=show_progress) as advance:
            points = codebook_training.sample(segments, sample_size(centroids, settings.dim), settings.dim)
            path = creation.new_file(self._folder, "codebook")
            record = codebook_training.train(
                self._folder,
                path,
                points,
                centroids=centroids,
                tokens=goal,
                bits=settings.nbits,
                tick=lambda: advance(1),
            )
        with self._committing() as connection:
            catalogs.insert_codebook(connection, record)
            catalogs.remove_unused_codebooks(connection)

    def _replace(self, numbers: list[int], codebook: int, *, show_progress: bool) -> None:
        """Encodes segments that have vectors, into one."""
        snapshot = self._current()
        parts = [snapshot.parts[number] for number in numbers]
        settings = self._catalog.settings
        with progress_bar(_tokens(parts), "Encoding tokens", enabled=show_progress) as advance:
            record = rewrite.encode(
                self._folder,
                parts,
                codebook,
                snapshot.codebooks[codebook],
                settings.nbits,
                keep_vectors=settings.keep_vectors,
                tick=advance,
            )
        self._exchange(parts, numbers, record)

    def _merge(self, numbers: list[int], *, show_progress: bool) -> None:
        snapshot = self._current()
        parts = [snapshot.parts[number] for number in numbers]
        codebook = parts[0].segment.record.codebook
        with progress_bar(_tokens(parts), "Merging segments", enabled=show_progress) as advance:
            if codebook is None:
                record = rewrite.copy(self._folder, parts, tick=advance)
            else:
                record = rewrite.merge(self._folder, parts, snapshot.codebooks[codebook], tick=advance)
        self._exchange(parts, numbers, record)

    def _exchange(self, parts: Sequence[Part], numbers: Sequence[int], record: SegmentRecord) -> None:
        gone = [part.numbers[~part.live] for part in parts if part.live is not None]
        if record.documents:
            self._check(record)
        with self._committing() as connection:
            catalogs.remove_segments(connection, numbers)
            if record.documents:
                catalogs.insert_segment(connection, record)
            if gone:
                catalogs.purge(connection, np.concatenate(gone).tolist())

    def _check(self, record: SegmentRecord) -> None:
        """Opens what is about to be named: once the catalog names a file that cannot be opened, the index cannot be."""
        book = None if record.codebook is None else self._current().codebooks[record.codebook]
        try:
            Segment(self._folder / SEGMENT_FOLDER, record, self._catalog.settings.dim, book)
        except IndexDamagedError as error:
            raise SerotineError(
                f"{self._folder}: a segment that was just written cannot be opened ({error}); the index stays as it "
                "was, without it; see to the disk, then try again"
            ) from error


def _tokens(parts: Sequence[Part]) -> int:
    return sum(part.segment.record.tokens for part in parts)
