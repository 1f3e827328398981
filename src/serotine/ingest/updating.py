"""Bringing an index to where its files are: what is new is added, what changed replaced, what vanished removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.errors import DuplicateIdError, InputFileError
from serotine.index.sources import SourceUpdate
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.planning import OnSkip, Plan, Planner, Skipped, Task, batches, state_of
from serotine.ingest.sources import SourceFile

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder

# Every commit takes many documents. The first are few, so that progress and safety come early; they double while one
# takes less than _QUICK seconds, so that a large collection is not written in thousands of pieces.
_FIRST_COMMIT = 64
_LARGEST_COMMIT = 8192
_QUICK = 10.0
_READ_AT_ONCE = 1024

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of files and of their documents.

    Attributes:
        files_added: files the index did not know.
        files_replaced: files that had changed, or were read in another way.
        files_removed: files that are on disk no more.
        files_unchanged: files left alone.
        added: documents stored: new ones, and those whose text or metadata changed.
        replaced: how many of these stand in place of another under the same id.
        kept: documents of new and changed files that the index held already.
        removed: documents that no file gives any more.
        skipped: files that could not be taken; what the index held of them is still there.
    """

    files_added: int
    files_replaced: int
    files_removed: int
    files_unchanged: int
    added: int
    replaced: int
    kept: int
    removed: int
    skipped: tuple[Skipped, ...]


def update(
    index: Index,
    sources: Sequence[str | Path | SourceFile],
    *,
    chunking: Chunking | None = None,
    upsert: bool = False,
    on_progress: OnProgress | None = None,
    on_skip: OnSkip | None = None,
) -> IngestReport:
    """Makes an index hold what files and folders say: their new, changed and vanished files, and nothing else's.

    Files are told by their content: one whose bytes are as they were is left alone. Every file is replaced in one
    transaction, so that a reader sees all of it as it was or as it is, whenever the process may die; only of a new
    file of many documents (.jsonl, .csv, .parquet) a part may be there, which the next run completes. Documents that
    came from elsewhere are never touched; what vanished is removed only where its folder is among `sources`.

    Args:
        index: open for writing, and made with an encoder.
        sources: files and folders; or ``SourceFile.named(path, "name.pdf")`` for a file whose place says nothing, such
            as an upload: it is recorded under that name, and replaced when another comes under it.
        chunking: how texts are cut into passages; as the index's texts were cut before, or 256 tokens of which 32 are
            shared, unless given.
        upsert: replace documents of the same ids that came from elsewhere; otherwise their file is skipped.
        on_progress: called after every commit with how many documents are stored, and how many will be.
        on_skip: called with every file that cannot be taken, as soon as that is known.

    Returns:
        Counts, and the files that were skipped: broken ones never end the run.

    Raises:
        InputFileError: a source is not there, or a folder has no files to read.
        ReadOnlyError, EncoderError: the index cannot be written to.
    """
    chunker = Chunker(index.encoder, chunking or usual_chunking(index, index.encoder))
    planner = Planner(index, chunker, index.stats().filterable, upsert=upsert)
    plan = planner.plan(sources, on_skip=on_skip)
    return carry_out(index, planner, plan, chunker, on_progress=on_progress, on_skip=on_skip)


def usual_chunking(index: Index | None, encoder: TextEncoder) -> Chunking:
    """How the texts of an index were last cut; what is usual for its encoder where it has none."""
    known = [] if index is None else [record.reading for record in index.sources.all().values()]
    told = next((reading for reading in reversed(known) if reading[0].isdigit() or reading == "whole"), None)
    return Chunking.of(None, None, encoder) if told is None else Chunking.parse(told)


def carry_out(
    index: Index,
    planner: Planner,
    plan: Plan,
    chunker: Chunker,
    *,
    on_progress: OnProgress | None = None,
    on_skip: OnSkip | None = None,
) -> IngestReport:
    """Does what a plan says, with the planner that made it, or `Planner.onto` the index. As `update` otherwise."""
    return _Run(index, planner, plan, chunker, on_progress, on_skip).run()


class _Run:
    """One run: commits of many files' changes, or of a part of one large new file."""

    def __init__(
        self,
        index: Index,
        planner: Planner,
        plan: Plan,
        chunker: Chunker,
        on_progress: OnProgress | None,
        on_skip: OnSkip | None,
    ) -> None:
        self._index = index
        self._planner = planner
        self._plan = plan
        self._chunker = chunker
        self._on_progress = on_progress
        self._on_skip = on_skip
        self._expected = len(index) + plan.new
        self._commit_size = _FIRST_COMMIT
        self._waiting: list[SourceUpdate] = []
        self._size = 0
        self._added = self._replaced = self._kept = self._removed = 0
        self._files_added = self._files_replaced = 0
        self._skipped = list(plan.skipped)

    def run(self) -> IngestReport:
        for task in self._plan.tasks:
            try:
                self._file(task)
            except (InputFileError, DuplicateIdError) as error:
                self._skip(task, str(error))
        self._commit()
        gone = self._plan.gone
        self._removed += sum(len(self._index.sources.ids(name)) for name in gone)
        self._index.update_sources([SourceUpdate(record) for record in self._plan.confirmed], gone=gone)
        return IngestReport(
            self._files_added,
            self._files_replaced,
            len(gone),
            self._plan.unchanged,
            self._added,
            self._replaced,
            self._kept,
            self._removed,
            tuple(self._skipped),
        )

    def _file(self, task: Task) -> None:
        # What nobody could have seen before may come in parts.
        in_parts = not task.file.is_text and (task.before is None or task.before.digest is None)
        update = SourceUpdate(task.record)
        given: set[str] = set()
        for batch in batches(task.file.documents(self._chunker), _FIRST_COMMIT if in_parts else _READ_AT_ONCE):
            parts = self._planner.sort(task.file, batch)
            given.update(document.id for document in batch)
            update.ids += [document.id for document in parts.store]
            update.texts += [document.text for document in parts.store]
            update.metadata += [document.metadata for document in parts.store]
            update.taken += parts.taken
            self._kept += parts.kept
            self._replaced += len(parts.store) - parts.new
            if in_parts and self._size + len(update.ids) >= self._commit_size:
                self._wait(replace(update, record=replace(task.record, digest=None)))
                self._commit()
                update = SourceUpdate(task.record)
        if state_of(task.file) != task.state:
            raise InputFileError(f"{task.file.name}: changed while it was read; run again")
        if task.before is not None:
            update.removed = [id_ for id_ in self._index.sources.ids(task.record.name) if id_ not in given]
        self._removed += len(update.removed)
        self._files_added += task.before is None
        self._files_replaced += task.before is not None
        self._wait(update)
        if self._size >= self._commit_size:
            self._commit()

    def _wait(self, update: SourceUpdate) -> None:
        self._waiting.append(update)
        self._size += len(update.ids)

    def _commit(self) -> None:
        if not self._waiting:
            return
        started = time.monotonic()
        self._index.update_sources(self._waiting, expected_documents=self._expected)
        self._added += self._size
        self._waiting, self._size = [], 0
        if time.monotonic() - started < _QUICK:
            self._commit_size = min(2 * self._commit_size, _LARGEST_COMMIT)
        if self._on_progress is not None:
            self._on_progress(self._added, max(self._plan.store, self._added))

    def _skip(self, task: Task, message: str) -> None:
        skipped = Skipped(task.file.name, message)
        self._skipped.append(skipped)
        if self._on_skip is not None:
            self._on_skip(skipped)
