"""Updates of an index from files: new files are added, changed ones replaced, and those that are gone removed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serotine.coverage import unknown_fix
from serotine.encoders import as_text_encoder
from serotine.errors import check_flags
from serotine.index import passage_encoder
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.commits import Commits, OnProgress
from serotine.ingest.document_reader import DocumentReader
from serotine.ingest.estimate import Estimate, estimate
from serotine.ingest.fields import Fields
from serotine.ingest.file_records import recorded_fields
from serotine.ingest.limits import ReadingLimits
from serotine.ingest.plan import IngestReport, OnSkip, Plan
from serotine.ingest.planner import Planner
from serotine.ingest.recorded_chunkings import previous_chunking, source_chunkings
from serotine.ingest.sources import SourceFile
from serotine.ingest.unfinished import marked_unfinished
from serotine.ingest.walk import FileSelection
from serotine.wording import worded

if TYPE_CHECKING:
    from serotine.index import Index
    from serotine.text_encoder import AnyEncoder

_log = logging.getLogger("serotine.ingest")


class Ingest:
    """Files and folders on their way into an index: `plan` reads them and changes nothing, `apply` commits.

    Args:
        sources: files, folders, and ``SourceFile.named(path, "name.pdf")`` for a file whose path means nothing, such as
            an upload: it is recorded under that name, and replaced by the next file of that name.
        encoder: the encoder of the index, or its name; its tokens are counted to cut texts into passages.
        chunking: how texts are cut, into passages of at most as many tokens as the encoder reads; None: as the texts of
            these sources were cut before; of sources that are not in the index, as the last run said, or the default
            for the encoder.
        filterable: the declared fields of an index that does not exist yet, as ``IndexStats.filterable`` has them.
        upsert: replace documents of the same ids that came from elsewhere; otherwise their file is skipped.
        strict: skip a file with a bad row whole; otherwise bad rows are skipped and counted, and the others indexed.
        selection: which files of folders are read; None: all of known types, without hidden and generated ones.
        fields: which fields of tables are text, title, id and metadata; None: as they were before in this index, or
            as BEIR names them.
        restore_deleted: store documents again that were deleted from the index, also of files that have not changed.
        limits: what is read of one file, at most; larger records and files are skipped.
        allow_empty: remove what the index has of a folder or subfolder without files, or of a source that is gone.
            Otherwise it stays, and the source is skipped: its disk may not be mounted.
        on_step: called many times a second while files are read and cut; what it raises ends the run. What is
            committed stays.

    Raises:
        ValueError: passages of `chunking` are longer than the encoder reads.
    """

    def __init__(
        self,
        sources: Sequence[str | Path | SourceFile],
        encoder: AnyEncoder,
        *,
        chunking: Chunking | None = None,
        filterable: Mapping[str, str] | None = None,
        upsert: bool = False,
        strict: bool = False,
        selection: FileSelection | None = None,
        fields: Fields | None = None,
        restore_deleted: bool = False,
        limits: ReadingLimits | None = None,
        allow_empty: bool = False,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        check_flags(upsert=upsert, strict=strict, restore_deleted=restore_deleted, allow_empty=allow_empty)
        self._limits = limits or ReadingLimits()
        self._sources = sources
        self._encoder = as_text_encoder(encoder)
        self._chunking = chunking
        if chunking is not None:
            chunking.check_room(self._encoder)
        self._filterable = filterable or {}
        self._upsert = upsert
        self._strict = strict
        self._selection = selection or FileSelection()
        self._fields = fields
        self._restore_deleted = restore_deleted
        self._allow_empty = allow_empty
        self._on_step = on_step
        self._planned: tuple[Plan, DocumentReader] | None = None

    @property
    def restores_deleted(self) -> bool:
        """Whether documents that were deleted from the index are stored again."""
        return self._restore_deleted

    def plan(
        self,
        index: Index | None = None,
        *,
        on_skip: OnSkip | None = None,
        on_read: OnProgress | None = None,
    ) -> Plan:
        """Read every file that is new or changed, without storing anything, and return what `apply` will do.

        Args:
            index: the index to update; None: one that does not exist yet.
            on_skip: called with every file that cannot be indexed.
            on_read: called while files are read with their bytes so far, and in all.

        Raises:
            InputFileError: a source does not exist, of which the index has nothing, or none has files to read.
        """
        plan, _ = self._planned = self._plan(index, on_skip, on_read)
        return plan

    def apply(
        self,
        index: Index,
        *,
        on_progress: OnProgress | None = None,
        on_bytes: OnProgress | None = None,
        on_skip: OnSkip | None = None,
        show_progress: bool = False,
    ) -> IngestReport:
        """Carry out the last plan, or a new one where there is none, in commits of many documents.

        A commit takes about five seconds of encoding. Every changed file is replaced in one transaction; of a large one
        the new documents are staged by earlier commits. Interrupted or killed at any moment, what is committed stays,
        and the next plan continues from there.

        Args:
            index: open for writing: the index of the plan, or the new one it was computed for.
            on_progress: called after every commit with the documents stored so far, and to be stored in all.
            on_bytes: called after every commit with the bytes of text stored so far, and to be stored in all.
            on_skip: called with every file that cannot be indexed, as soon as that is known.
            show_progress: show how far the maintenance of the index is.

        Raises:
            ReadOnlyError, EncoderError: the index cannot be written to.

        Warns:
            TruncatedTextWarning, UnknownTextWarning: once, of documents that were stored, as in `Index.add`.
        """
        check_flags(show_progress=show_progress)
        plan, reader = self._planned or self._plan(index, on_skip, None)
        self._planned = None
        commits = Commits(
            index,
            plan,
            reader,
            upsert=self._upsert,
            on_progress=on_progress,
            on_bytes=on_bytes,
            on_skip=on_skip,
            show_progress=show_progress,
        )
        marked = marked_unfinished(index, self._sources, self._chunking, stores=bool(plan.changes))
        with self._limits.applied(), marked:
            report = commits.run()
        name = self._encoder.name
        fix = worded("cut texts into passages: chunking=Chunking(256, 32)", http="shorten them")
        report.coverage.warn_truncated("documents", name, fix)
        report.coverage.warn_unknown("documents", name, unknown_fix(name))
        return report

    def estimate(self, index: Index | None = None, *, on_bytes: OnProgress | None = None) -> Estimate:
        """Return what the last plan, or a new one, will cost: tokens are counted, and a sample is encoded.

        Args:
            index: as for `plan`.
            on_bytes: called with the bytes of text whose tokens are counted so far, and in all.
        """
        plan, reader = self._planned = self._planned or self._plan(index, None, None)
        with self._limits.applied():
            return estimate(plan, reader, self._encoder, index, upsert=self._upsert, on_bytes=on_bytes)

    def _plan(
        self, index: Index | None, on_skip: OnSkip | None, on_read: OnProgress | None
    ) -> tuple[Plan, DocumentReader]:
        chunking = self._chunking or previous_chunking(index, self._encoder)
        by_root: dict[str, Chunking] = {}
        if index is not None and self._chunking is None:
            by_root = source_chunkings(index, self._sources, chunking)
        chunkers = {one: Chunker(self._encoder, one, self._on_step) for one in {chunking, *by_root.values()}}
        if any(one.late for one in chunkers):
            # Before anything is read.
            passage_encoder(self._encoder)
        filterable = self._filterable if index is None else index.stats().filterable
        recorded = recorded_fields(index)
        reader = DocumentReader(
            chunkers[chunking],
            filterable,
            self._strict,
            self._fields,
            recorded,
            self._on_step,
            chunkers={root: chunkers[of_root] for root, of_root in by_root.items()},
        )
        planner = Planner(
            index,
            reader,
            self._upsert,
            self._restore_deleted,
            self._allow_empty,
            self._selection,
            on_skip,
            on_read,
        )
        with self._limits.applied():
            plan = planner.run(self._sources)
        _log.info(
            "plan: %d files to store (%d documents), %d unchanged, %d gone, %d skipped, %d bad rows",
            len(plan.changes),
            plan.to_store,
            len(plan.unchanged),
            len(plan.gone),
            len(plan.skipped),
            plan.skipped_rows.count,
        )
        return plan, reader


def update(
    index: Index,
    sources: Sequence[str | Path | SourceFile],
    *,
    chunking: Chunking | None = None,
    upsert: bool = False,
    strict: bool = False,
    selection: FileSelection | None = None,
    fields: Fields | None = None,
    restore_deleted: bool = False,
    limits: ReadingLimits | None = None,
    allow_empty: bool = False,
    on_progress: OnProgress | None = None,
    on_skip: OnSkip | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> IngestReport:
    """Update an index from files and folders: add new files, replace changed ones, remove those that are gone.

    Files are compared by content: one with the same bytes is left alone. Every file is replaced in one transaction, so
    that a reader sees all of its old version or all of its new one, even if the process is killed; only of a large new
    file a part may be there, which the next run completes. Documents that did not
    come from these files are never changed; a file that is gone is removed only where its folder is among `sources`.

    Args:
        index: open for writing, and created with an encoder.
        sources: as in `Ingest`.
        chunking: as in `Ingest`.
        upsert: as in `Ingest`.
        strict: as in `Ingest`.
        selection: as in `Ingest`.
        fields: as in `Ingest`.
        restore_deleted: as in `Ingest`.
        limits: as in `Ingest`.
        allow_empty: as in `Ingest`.
        on_progress: called after every commit with the documents stored so far, and to be stored in all.
        on_skip: called with every file that cannot be indexed, as soon as that is known.
        on_step: as in `Ingest`.

    Returns:
        Counts, and the files, folders and rows that were skipped: a broken file never ends the run.

    Raises:
        InputFileError: a source does not exist, of which the index has nothing, or none has files to read.
        ReadOnlyError, EncoderError: the index cannot be written to.
        ValueError: passages of `chunking` are longer than the encoder reads.
    """
    ingest = Ingest(
        sources,
        index.encoder,
        chunking=chunking,
        upsert=upsert,
        strict=strict,
        selection=selection,
        fields=fields,
        restore_deleted=restore_deleted,
        limits=limits,
        allow_empty=allow_empty,
        on_step=on_step,
    )
    return ingest.apply(index, on_progress=on_progress, on_skip=on_skip)
