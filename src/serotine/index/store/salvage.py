"""Salvage: a new index of everything that the checksums of a damaged one prove good."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, IndexLockedError, reason
from serotine.files import open_regular
from serotine.index.files import (
    POOLED,
    SEGMENT_FOLDER,
    VECTORS,
    ArraysWriter,
    Codebook,
    CodebookRecord,
    FileRecord,
    Segment,
    SegmentRecord,
    append_documents,
    copy_intact,
    damage,
    durable,
    open_codebook,
    write_pooled,
)
from serotine.index.store import record_checksums
from serotine.index.store.catalog import POOLED_WEIGHTS, Catalog, create_catalog
from serotine.index.store.folder import new_file, new_folder
from serotine.index.store.sql import batches, is_row_intact, placeholders
from serotine.index.store.transaction import StoredDocument, Transaction
from serotine.index.store.writer_lock import is_held


@dataclass(frozen=True, slots=True)
class LostDocument:
    """A document that could not be saved.

    Attributes:
        number: its number in the damaged index, which appears in messages of `verify`.
        id: its id, or None where the catalog no longer has it.
        reason: what is damaged.
    """

    number: int
    id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class SalvageReport:
    """Report of `Index.salvage`.

    Attributes:
        documents: number of live documents of the new index.
        lost: the documents that are not in it.
        rebuilt: ids of documents whose stored vectors were damaged and are rebuilt from the codes: close, not exact.
        damaged: the problems that were found, of files and of the catalog.
        without_pooled: ids of documents whose pooled vectors were damaged: they are ranked by their tokens alone.
    """

    documents: int
    lost: tuple[LostDocument, ...]
    rebuilt: tuple[str, ...]
    damaged: tuple[str, ...]
    without_pooled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _IntactSegment:
    """What is good of a segment: its files as they are, or vectors to write again.

    Attributes:
        segment: opened with its intact files only.
        copied: whether these files are copied; otherwise the documents at `positions` are written again.
        positions: of the documents that no earlier segment holds.
        approximate: whether their vectors are rebuilt from codes, where the index stores vectors.
    """

    segment: Segment
    copied: bool
    positions: NDArray[np.int64]
    approximate: bool


def salvage_index(folder: Path, target: Path) -> SalvageReport:
    """Write what is good of the index at `folder` to a new index at `target`.

    Document numbers stay. Records of files that documents were read from, of deleted documents, and of truncated texts
    have no checksums and are left out.

    Raises:
        IndexExistsError: `target` exists and is not an empty folder.
        IndexLockedError: a writer has the index open.
        IndexDamagedError: the settings or the list of segments cannot be read.
    """
    if is_held(folder):
        raise IndexLockedError(f"{folder}: a writer has this index open; close it, and try again", str(folder))
    catalog = Catalog(folder, read_only=True)
    try:
        with new_folder(target) as building:
            create_catalog(building, catalog.settings)
            return _salvage(folder, catalog, building)
    finally:
        catalog.close()


def _salvage(folder: Path, catalog: Catalog, building: Path) -> SalvageReport:
    damaged: list[str] = []
    codebooks = _intact_codebooks(folder, catalog, damaged)
    segments = _intact_segments(folder, catalog, codebooks, damaged)
    parts: list[NDArray[np.int64]] = [segment.segment.numbers[segment.positions] for segment in segments]
    numbers = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))
    rows, lost = _documents(catalog, numbers)
    copy = Catalog(building, read_only=False)
    try:
        pooled_dim = catalog.settings.pooled_dim
        records = [_written(folder, building, segment, pooled_dim) for segment in segments if segment.positions.size]
        with copy.transaction() as connection:
            transaction = Transaction(connection)
            new_numbers = {}
            for number, (record, _) in codebooks.items():
                _copy(folder, building, record.file)
                new_numbers[number] = transaction.insert_codebook(record)
            for segment_record in records:
                old = segment_record.codebook
                transaction.insert_segment(replace(segment_record, codebook=None if old is None else new_numbers[old]))
            transaction.insert_numbered(rows)
            if weights := _intact_pooled_weights(catalog):
                transaction.set_pooled_weights(*weights)
        durable.sync_folder(building / SEGMENT_FOLDER)
        documents = copy.counts()[0]
    finally:
        copy.close_writer()
    rebuilt = _live_ids(rows, [segment for segment in segments if segment.approximate])
    unpooled = [segment for segment in segments if pooled_dim and segment.segment.pooled is None]
    return SalvageReport(documents, tuple(lost), rebuilt, tuple(damaged), _live_ids(rows, unpooled))


def _live_ids(rows: Sequence[StoredDocument], segments: Sequence[_IntactSegment]) -> tuple[str, ...]:
    numbers = {int(number) for segment in segments for number in segment.segment.numbers[segment.positions]}
    return tuple(row.id for row in rows if row.live and row.number in numbers)


def _intact_pooled_weights(catalog: Catalog) -> tuple[float, float] | None:
    """Return the weights that were fitted, unless they are not what was written."""
    rows = catalog.damaged_records()
    return None if record_checksums.value_name(POOLED_WEIGHTS) in rows else catalog.pooled_weights()


def _intact_codebooks(folder: Path, catalog: Catalog, damaged: list[str]) -> dict[int, tuple[CodebookRecord, Codebook]]:
    intact = {}
    files = folder / SEGMENT_FOLDER
    for number, record in catalog.codebooks(damaged.append).items():
        problem = damage(files / record.file.name, record.file)
        if not problem:
            try:
                intact[number] = record, open_codebook(files, record, catalog.settings.dim)
                continue
            except IndexDamagedError as error:
                problem = reason(error)
        damaged.append(problem)
    return intact


def _intact_segments(
    folder: Path, catalog: Catalog, codebooks: dict[int, tuple[CodebookRecord, Codebook]], damaged: list[str]
) -> list[_IntactSegment]:
    intact: list[_IntactSegment] = []
    taken = np.empty(0, np.int64)
    files = folder / SEGMENT_FOLDER
    rows = catalog.damaged_records()
    if rows:
        damaged.append(record_checksums.problem(rows))
    for number, record in catalog.segments(damaged.append):
        problems = {file.name: damage(files / file.name, file) for file in record.files}
        damaged += [problem for problem in problems.values() if problem]
        vectors = record.vectors if record.vectors and not problems[record.vectors.name] else None
        codes = record.codes if record.codes and not problems[record.codes.name] else None
        pooled = record.pooled if record.pooled and not problems[record.pooled.name] else None
        # Nothing but the row says which codebook the codes are of.
        if record.codebook not in codebooks or record_checksums.segment_name(number) in rows:
            codes = None
        if vectors is None and codes is None:
            continue
        usable = SegmentRecord(
            record.documents, record.tokens, record.codebook if codes else None, vectors, codes, pooled
        )
        codebook = None if usable.codebook is None else codebooks[usable.codebook][1]
        try:
            segment = Segment(files, usable, catalog.settings.dim, codebook, catalog.settings.pooled_dim)
        except IndexDamagedError as error:
            damaged.append(reason(error))
            continue
        positions = np.flatnonzero(~np.isin(segment.numbers, taken))
        if positions.size < segment.numbers.size:
            damaged.append(f"segment {number} holds {segment.numbers.size - positions.size:,} documents of another one")
        taken = np.concatenate([taken, segment.numbers[positions]])
        # Exact scores are proved over stored vectors: rebuilt ones are stored as new documents are.
        approximate = vectors is None and catalog.settings.keep_vectors
        copied = not approximate and positions.size == segment.numbers.size
        intact.append(_IntactSegment(segment, copied, positions, approximate))
    return intact


def _written(folder: Path, building: Path, intact: _IntactSegment, pooled_dim: int) -> SegmentRecord:
    """Write a segment's documents to the new index; return its record."""
    segment = intact.segment
    if intact.copied:
        for file in segment.record.files:
            _copy(folder, building, file)
        return replace(segment.record, pooled=segment.record.pooled or _pooled(building, intact, pooled_dim))
    offsets = [0]
    with ArraysWriter(new_file(building, VECTORS), VECTORS) as writer:
        writer.append(VECTORS, np.empty((0, segment.dim), dtype=np.float16))
        for position in intact.positions:
            vectors = segment.document(int(position))
            writer.append(VECTORS, vectors)
            offsets.append(offsets[-1] + len(vectors))
        append_documents(writer, segment.numbers[intact.positions], np.array(offsets, dtype=np.int64))
    return SegmentRecord(
        len(offsets) - 1, offsets[-1], None, writer.record, None, _pooled(building, intact, pooled_dim)
    )


def _pooled(building: Path, intact: _IntactSegment, dim: int) -> FileRecord | None:
    """Write the pooled vectors of a segment's documents, zeros where they are damaged; None where none are stored."""
    if not dim:
        return None
    stored, positions = intact.segment.pooled, intact.positions
    rows = np.zeros((positions.size, dim), dtype=np.float16) if stored is None else stored[positions]
    return write_pooled(new_file(building, POOLED), dim, [rows], intact.segment.numbers[positions])


def _copy(folder: Path, building: Path, record: FileRecord) -> None:
    with open_regular(folder / SEGMENT_FOLDER / record.name, follow=False) as file:
        copy_intact(file, record, building / SEGMENT_FOLDER / record.name)


def _documents(catalog: Catalog, numbers: NDArray[np.int64]) -> tuple[list[StoredDocument], list[LostDocument]]:
    """Return a row for every one of `numbers`, a tombstone where the document is lost, and the lost documents."""
    stored = set(numbers.tolist())
    rows: dict[int, StoredDocument] = {}
    lost: list[LostDocument] = []
    by_id: dict[str, int] = {}
    with catalog.reading() as connection:
        # Not all up to the last number: that of the catalog may be damaged, and those of segments forged.
        for number, row in _readable_rows(connection, sorted(stored | _numbers(connection))):
            problem = "its row in the catalog cannot be read" if row is None else ""
            live, id_ = 0, None
            if row is not None:
                id_, text, metadata, checksum, live = row
                if not is_row_intact(id_, text, metadata, checksum):
                    id_, problem = id_ if isinstance(id_, str) else None, "its row does not match its checksum"
                elif live and number not in stored:
                    problem = "the file of its vectors is damaged"
                elif number in stored:
                    rows[number] = StoredDocument(number, id_, text, metadata, bool(live))
                    if live and (other := by_id.get(id_)) is not None:
                        rows[other] = replace(rows[other], live=False)
                        lost.append(LostDocument(other, id_, f"document {number} has the same id"))
                    if live:
                        by_id[id_] = number
            if problem and (live or (row is None and number in stored)):
                lost.append(LostDocument(number, id_, problem))
    absent = [StoredDocument(number, "", None, "{}", False) for number in sorted(stored - rows.keys())]
    known = {document.number for document in lost}
    lost += [
        LostDocument(row.number, None, "it has no row in the catalog") for row in absent if row.number not in known
    ]
    return sorted([*rows.values(), *absent], key=lambda row: row.number), sorted(lost, key=lambda row: row.number)


def _numbers(connection: sqlite3.Connection) -> set[int]:
    """Return the numbers of rows of documents, as far as they can be read: from either end of the table, and by id."""
    numbers: set[int] = set()
    for statement in (
        "SELECT number FROM documents ORDER BY number",
        "SELECT number FROM documents ORDER BY number DESC",
        "SELECT number FROM documents INDEXED BY documents_by_live_id WHERE live",
    ):
        # Where a page is damaged, those before it are listed.
        with suppress(sqlite3.DatabaseError):
            numbers.update(number for (number,) in connection.execute(statement))
    return numbers


def _readable_rows(
    connection: sqlite3.Connection, numbers: Sequence[int]
) -> Iterator[tuple[int, tuple[Any, ...] | None]]:
    """Yield the rows (id, text, metadata, checksum, live) of documents; None for one that is unreadable."""
    columns = "SELECT number, id, text, metadata, checksum, live FROM documents"
    for batch in batches(numbers):
        try:
            rows = connection.execute(
                f"{columns} WHERE number IN ({placeholders(batch)}) ORDER BY number",
                batch,
            ).fetchall()
        except sqlite3.DatabaseError:
            # A page is damaged, or a text is no UTF-8: each row by itself.
            for number in batch:
                try:
                    single = connection.execute(f"{columns} WHERE number = ?", (number,)).fetchall()
                except sqlite3.DatabaseError:
                    yield number, None
                else:
                    yield from ((row[0], row[1:]) for row in single)
            continue
        yield from ((row[0], row[1:]) for row in rows)
