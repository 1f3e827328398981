"""Maintenance: the jobs a writer runs between changes, so that a growing index stays fast to search.

`serotine.index.growth.policy` decides which job is due. Every job is one transaction: a crash leaves the state before
it or after it, and never loses a document.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from serotine import maxsim
from serotine.errors import IndexDamagedError, MaintenanceWarning, SerotineError, index_damaged, reason
from serotine.index.files import (
    CHECKPOINT_FILE,
    SEGMENT_FOLDER,
    Segment,
    SegmentRecord,
    all_damage,
    centroids_for,
    durable,
    sample_size,
)
from serotine.index.growth import codebook_training, full_disk, kmeans, policy, rewrite
from serotine.index.growth.policy import Job, Kind
from serotine.index.store import SegmentView, Snapshot, Store, is_disk_full
from serotine.issued_warnings import issue_warning
from serotine.progress import progress_bar

_log = logging.getLogger("serotine.index")

_EXPECTED_TOKENS = "expected_tokens"


class Maintenance:
    """The maintenance of one store; requires the writer lock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def expect(self, documents: int) -> None:
        """Record the expected number of tokens, extrapolated from the stored documents to `documents`."""
        records = self._store.snapshot().records
        stored = sum(record.documents for record in records)
        expected = int(sum(record.tokens for record in records) / max(stored, 1) * documents)
        # Within a factor of two the codebook would be the same: no need to write.
        if expected and not expected / 2 <= self._expected() <= expected * 2:
            self._set_expected(expected)

    def expect_no_more(self) -> None:
        """Record that the expected documents are all there, so that no job waits for more."""
        if self._expected():
            self._set_expected(0)

    @property
    def awaits_more(self) -> bool:
        """Whether documents of a stream are still expected."""
        return bool(self._expected())

    def _expected(self) -> int:
        return int(self._store.catalog.value(_EXPECTED_TOKENS) or 0)

    def _set_expected(self, tokens: int) -> None:
        with self._store.transaction() as transaction:
            transaction.set_value(_EXPECTED_TOKENS, tokens)

    def run(self, *, loading: bool = False, show_progress: bool = False) -> None:
        """Run every job that is due; `loading`: within a stream of documents, of which more follow."""
        while (job := self._due_job(loading)) is not None:
            _log.info("%s: %s", self._store.folder, job.kind.value)
            with self._store.freeing_space():
                try:
                    self._run_job(job, show_progress=show_progress)
                except (OSError, SerotineError) as error:
                    if is_disk_full(error):
                        self._remove_remains()
                    raise

    def compact(self, *, show_progress: bool = False) -> None:
        """Rewrite everything into as few segments as possible, without tombstones.

        Where vectors are stored, a new codebook is trained unless the newest was trained for a collection of this
        size, and everything is encoded with it. Where they are not, codes stay as they are: encoding vectors rebuilt
        from codes would lose precision twice.

        On a disk without space for that, only the deleted documents are removed, segment by segment.

        Raises:
            OSError: the disk has not even space for the smallest of these segments.
        """
        try:
            self._compact(show_progress=show_progress)
            return
        except (OSError, SerotineError) as error:
            if not is_disk_full(error) or full_disk.smallest_rewrite(self._store.snapshot()) is None:
                raise
        # Not in the handler: the exception refers to open files, whose space is free once they are closed.
        self._remove_tombstones(show_progress=show_progress)
        try:
            self._compact(show_progress=show_progress)
        except (OSError, SerotineError) as error:
            if not is_disk_full(error):
                raise
            self._remove_remains()
            issue_warning(
                MaintenanceWarning(
                    f"{self._store.folder}: deleted documents were removed, but the disk is too full to merge the "
                    "segments; free space, then compact again"
                )
            )

    def _remove_tombstones(self, *, show_progress: bool) -> None:
        """Rewrite every segment that has tombstones by itself, the smallest first: each frees space for the next."""
        self._remove_remains()
        while (smallest := full_disk.smallest_rewrite(self._store.snapshot())) is not None:
            try:
                self._merge([smallest.segment], show_progress=show_progress)
                self._store.catalog.empty_wal()
            except (OSError, SerotineError) as error:
                if not is_disk_full(error):
                    raise
                self._remove_remains()
                raise full_disk.shortage(self._store, smallest) from error

    def _remove_remains(self) -> None:
        """Remove what a job has left that failed on a full disk, also what the next one would go on from."""
        self._store.sweep()
        durable.remove(self._store.folder / SEGMENT_FOLDER / CHECKPOINT_FILE)
        self._store.catalog.empty_wal()

    def _compact(self, *, show_progress: bool) -> None:
        if self._needs_training():
            self._train(show_progress=show_progress)
        newest = _newest(self._store.snapshot())
        if newest is not None and (numbers := _outdated(self._store.snapshot(), newest)):
            self._encode(numbers, newest, show_progress=show_progress)
        for run in _runs(self._store.snapshot(), self._store.segment_tokens):
            self._merge(run, show_progress=show_progress)
        with self._store.transaction() as transaction:
            transaction.remove_unused_codebooks()
        self._store.sweep()

    def _needs_training(self) -> bool:
        snapshot = self._store.snapshot()
        total = sum(record.tokens for record in snapshot.records)
        newest = _newest(snapshot)
        return total >= policy.FIRST_TRAINING and (
            newest is None or (self._store.settings.keep_vectors and self._is_stale(snapshot, newest, total))
        )

    def _is_stale(self, snapshot: Snapshot, newest: int, total: int) -> bool:
        trained_for = self._trained_for(newest)
        others = any(record.codebook not in (None, newest) for record in snapshot.records)
        return others or not trained_for / policy.OUTGROWN <= total <= trained_for * policy.OUTGROWN

    def _centroids(self, tokens: int) -> int:
        return self._store.settings.centroids or centroids_for(tokens)

    def _trained_for(self, codebook: int) -> int:
        return self._store.catalog.codebooks()[codebook].tokens

    def _due_job(self, loading: bool) -> Job | None:
        snapshot = self._store.snapshot()
        newest = _newest(snapshot)
        trained_for = 0 if newest is None else self._trained_for(newest)
        expected = self._expected()
        sample = sample_size(self._centroids(expected), self._store.settings.dim)
        shapes, limit = policy.shapes(snapshot), self._store.segment_tokens
        fan_in = policy.LOADING_FAN_IN if loading else policy.FAN_IN
        job = policy.next_job(shapes, newest, trained_for, expected, sample, limit, fan_in)
        if job is not None and job.kind is Kind.ENCODE and newest is not None and self._drifted(snapshot, job, newest):
            return Job(Kind.TRAIN)
        return job

    def _drifted(self, snapshot: Snapshot, job: Job, newest: int) -> bool:
        views = [snapshot.segments[number] for number in job.segments]
        head = [view.segment for view in views]
        if sum(segment.record.tokens for segment in head) < policy.FIRST_TRAINING:
            return False
        self._require_intact(views)
        codebook = snapshot.codebooks[newest]
        points = codebook_training.sample(head, codebook_training.MEASURED, self._store.settings.dim)
        return codebook.mean_error(points, self._store.settings.nbits) > policy.DRIFTED * codebook.training_error

    def _run_job(self, job: Job, *, show_progress: bool) -> None:
        if job.kind is Kind.TRAIN:
            self._train(show_progress=show_progress)
            snapshot = self._store.snapshot()
            head = [number for number, view in snapshot.segments.items() if view.segment.codes is None]
            self._encode(head, max(snapshot.codebooks), show_progress=show_progress)
        elif job.kind is Kind.ENCODE:
            newest = max(self._store.snapshot().codebooks)
            self._encode(list(job.segments), newest, show_progress=show_progress)
        else:
            self._merge(list(job.segments), show_progress=show_progress)

    def _train(self, *, show_progress: bool) -> None:
        snapshot = self._store.snapshot()
        settings = self._store.settings
        tokens = max(sum(record.tokens for record in snapshot.records), self._expected())
        centroids = self._centroids(tokens)
        # Sampled through the map, which kills the process where a file was cut; and a codebook of damage would stay.
        self._require_intact(list(snapshot.segments.values()))
        segments = [view.segment for view in snapshot.segments.values()]
        with progress_bar(kmeans.STEPS, "Training a codebook", enabled=show_progress) as advance:
            points = codebook_training.sample(segments, sample_size(centroids, settings.dim), settings.dim)
            record = codebook_training.train(
                self._store.folder,
                self._store.new_file("codebook"),
                points,
                centroids=centroids,
                tokens=tokens,
                bits=settings.nbits,
                tick=lambda: advance(1),
            )
        self._store.require_space(0)
        with self._store.transaction() as transaction:
            transaction.insert_codebook(record)
            transaction.remove_unused_codebooks()
        self._store.sweep()

    def _encode(self, numbers: list[int], codebook: int, *, show_progress: bool) -> None:
        """Encode segments that have vectors into as few as possible."""
        segments = self._store.snapshot().segments
        sizes = [segments[number].tokens for number in numbers]
        # Its files take space for as long as they are open.
        del segments
        for run in policy.runs(sizes, self._store.segment_tokens):
            self._encode_as_one(numbers[run], codebook, show_progress=show_progress)

    def _encode_as_one(self, numbers: list[int], codebook: int, *, show_progress: bool) -> None:
        snapshot = self._store.snapshot()
        views = [snapshot.segments[number] for number in numbers]
        settings = self._store.settings
        self._require_intact(views)
        record = None
        if _have_documents(views):
            with progress_bar(_tokens(views), "Encoding tokens", enabled=show_progress) as advance:
                record = rewrite.encode(
                    self._store,
                    views,
                    codebook,
                    snapshot.codebooks[codebook],
                    settings.nbits,
                    keep_vectors=settings.keep_vectors,
                    tick=advance,
                )
        self._replace(views, numbers, record)

    def _merge(self, numbers: list[int], *, show_progress: bool) -> None:
        snapshot = self._store.snapshot()
        views = [snapshot.segments[number] for number in numbers]
        codebook = views[0].segment.record.codebook
        self._require_intact(views)
        record = None
        if _have_documents(views):
            with progress_bar(_tokens(views), "Merging segments", enabled=show_progress) as advance:
                if codebook is None:
                    record = rewrite.copy(self._store, views, tick=advance)
                else:
                    record = rewrite.merge(self._store, views, snapshot.codebooks[codebook], tick=advance)
        self._replace(views, numbers, record)

    def _replace(self, views: Sequence[SegmentView], numbers: Sequence[int], record: SegmentRecord | None) -> None:
        """Commit what segments become: one segment, or none where they have no live documents."""
        tombstones = [view.numbers[~view.live] for view in views if view.live is not None]
        if record is not None:
            self._check(record)
            files = [file for view in views for file in view.segment.record.files]
            # Codes beside vectors make a segment larger. A file of vectors that stays is not freed.
            if record.bytes > sum(file.bytes for file in files):
                freed = sum(file.bytes for file in files if file not in record.files)
                self._store.require_space(0, [record], freed=freed)
        with self._store.transaction() as transaction:
            transaction.remove_segments(numbers)
            if record is not None:
                transaction.insert_segment(record)
            if tombstones:
                transaction.purge_deleted(np.concatenate(tombstones).tolist())
        # Readers that have the replaced files open can still read them.
        self._store.sweep()

    def _require_intact(self, views: Sequence[SegmentView]) -> None:
        """Raise IndexDamagedError for damaged files: copied, damage would get a checksum that matches."""
        files = [file for view in views for file in view.segment.record.files]
        files += [record.file for record in self._store.catalog.codebooks().values()]
        folder = self._store.folder
        if problems := all_damage(folder / SEGMENT_FOLDER, files, maxsim.num_threads()):
            raise index_damaged(f"{folder}: {'; '.join(problems)}; these files stay as they are and are not merged")

    def _check(self, record: SegmentRecord) -> None:
        """Open a segment before it is committed: a catalog that names an unreadable file makes an unreadable index."""
        codebook = None if record.codebook is None else self._store.snapshot().codebooks[record.codebook]
        folder = self._store.folder
        try:
            settings = self._store.settings
            Segment(folder / SEGMENT_FOLDER, record, settings.dim, codebook, settings.pooled_dim)
        except IndexDamagedError as error:
            raise SerotineError(
                f"{folder}: a new segment cannot be read back ({reason(error)}); the index is unchanged; "
                "check the disk, then try again"
            ) from error


def _newest(snapshot: Snapshot) -> int | None:
    return max(snapshot.codebooks, default=None)


def _outdated(snapshot: Snapshot, newest: int) -> list[int]:
    """Return the segments with vectors to encode with the newest codebook."""
    stored = {n: view.segment.record for n, view in snapshot.segments.items() if view.segment.vectors is not None}
    # Segments that become one must be adjacent: newer codes may lie between old codes and the head.
    outdated = any(record.codebook not in (None, newest) for record in stored.values())
    return [number for number, record in stored.items() if outdated or record.codebook != newest]


def _runs(snapshot: Snapshot, limit: int) -> list[list[int]]:
    """Return the segments of every codebook that become one of at most `limit` tokens, where that changes anything."""
    segments = snapshot.segments
    by_codebook: dict[int | None, list[int]] = {}
    for number, view in segments.items():
        by_codebook.setdefault(view.segment.record.codebook, []).append(number)
    runs = [
        numbers[run]
        for numbers in by_codebook.values()
        for run in policy.runs([segments[number].tokens for number in numbers], limit)
    ]
    return [run for run in runs if len(run) > 1 or segments[run[0]].live is not None]


def _have_documents(views: Sequence[SegmentView]) -> bool:
    return any(view.documents for view in views)


def _tokens(views: Sequence[SegmentView]) -> int:
    return sum(view.segment.record.tokens for view in views)
