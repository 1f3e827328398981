"""The files of a build, read on the cluster: what every shard has of them, and its documents as objects.

A task reads some files, counts the documents of every shard and, for shards that are to be built, writes them to
objects at the URL. Who builds a shard reads these: nobody reads all files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serotine.distributed.placement import owner
from serotine.distributed.ray_data import Pipelines
from serotine.errors import InputFileError, MissingExtraError, RepositoryError, shown_id
from serotine.index import MissingObjectError, objects_at
from serotine.ingest import Document, FileSelection, Ignored, Skipped, SkippedRow, SkippedRows, SourceFile, list_files
from serotine.progress import progress_bar

FOLDER = "reading"
"""The folder of the objects at the URL."""
# Bytes of the files that one task reads, unless one file has more.
_BLOCK_BYTES = 32 << 20
# Characters that a task holds before it writes them.
_HELD_CHARACTERS = 64 << 20
_ID_BYTES = 16
_DIGESTS = 1 << 256


@dataclass(frozen=True, slots=True)
class Share:
    """What a shard has of some files.

    Attributes:
        documents: number of documents, before long ones are split.
        digest: sum of the digests of the documents, whatever their order, modulo 2 to the power of 256.
        objects: names of the objects that contain them, in order; none unless the shard is to be built.
    """

    documents: int = 0
    digest: int = 0
    objects: tuple[str, ...] = ()

    def __add__(self, later: Share) -> Share:
        """Return what the shard has of both, the other's files being the later ones."""
        digest = (self.digest + later.digest) % _DIGESTS
        return Share(self.documents + later.documents, digest, self.objects + later.objects)


@dataclass(frozen=True, slots=True)
class Target:
    """Where documents are written, and of which shards.

    Attributes:
        url: of the sharded index.
        storage_options: as fsspec takes them.
        name: begins the names of the objects; other documents have another.
        wanted: the shards that are to be built.
    """

    url: str
    storage_options: Mapping[str, Any] | None
    name: str
    wanted: frozenset[int]


@dataclass(frozen=True, slots=True)
class Block:
    """Files that one task reads.

    Attributes:
        number: in the order of all files.
        files: in order.
        size: their bytes.
        shards: number of shards.
        target: where their documents are written; None: nowhere.
    """

    number: int
    files: tuple[SourceFile, ...]
    size: int
    shards: int
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class BlockContent:
    """What a task has read.

    Attributes:
        shares: of the shards that have documents.
        ids: digests of all ids, 16 bytes each.
        documents: number of documents of every file.
        unread: how many images, attachments and the like are not read, by kind.
        problems: lines that may not be read as they were meant.
        skipped_rows: bad rows of every file.
        skipped: files without a document: broken ones, and those without text.
    """

    shares: Mapping[int, Share]
    ids: bytes
    documents: tuple[int, ...]
    unread: Mapping[str, int]
    problems: SkippedRows
    skipped_rows: tuple[SkippedRows, ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """All documents of a build.

    Attributes:
        blocks: its files, as tasks read them.
        shares: of every shard.
        ignored: files of folders that are not read.
        unread: as in `BlockContent`.
        problems: as in `BlockContent`.
        skipped_rows: bad rows of all files.
        skipped: as in `BlockContent`.
    """

    blocks: tuple[Block, ...]
    shares: tuple[Share, ...]
    ignored: Ignored
    unread: Mapping[str, int]
    problems: SkippedRows
    skipped_rows: SkippedRows
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a build before they are read.

    Attributes:
        files: every source with its files.
        ignored: files of folders that are not read.
    """

    files: tuple[tuple[Path, list[SourceFile]], ...]
    ignored: Ignored


@dataclass(slots=True)
class _Writer:
    """The documents of the wanted shards on their way into objects."""

    block: int
    target: Target
    names: dict[int, list[str]] = field(default_factory=dict)
    _lines: dict[int, list[str]] = field(default_factory=dict)
    _held: int = 0

    def add(self, shard: int, line: str) -> None:
        self._lines.setdefault(shard, []).append(line)
        self._held += len(line)
        if self._held > _HELD_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        objects = objects_at(self.target.url, self.target.storage_options)
        for shard, lines in sorted(self._lines.items()):
            names = self.names.setdefault(shard, [])
            name = f"{FOLDER}/{self.target.name}-{self.block}-{shard}-{len(names)}.jsonl.gz"
            objects.write(name, gzip.compress("\n".join(lines).encode(), compresslevel=1, mtime=0))
            names.append(name)
        self._lines, self._held = {}, 0


def read_collection(pipelines: Pipelines, listed: Sources, shards: int, *, show_progress: bool) -> Collection:
    """Read all files on the cluster: what every shard will have, and whether ids are unique.

    Raises:
        InputFileError: a source has no documents, two documents have one id, or a file breaks off.
    """
    files = list({file.key: file for _, of_source in listed.files for file in of_source}.values())
    blocks = _blocks(files, shards)
    contents = _read(pipelines, blocks, "Reading", show_progress=show_progress)
    counts = [count for content in contents for count in content.documents]
    documents = dict(zip((file.key for file in files), counts, strict=True))
    bad_rows = [rows for content in contents for rows in content.skipped_rows]
    skipped_rows = dict(zip((file.key for file in files), bad_rows, strict=True))
    skipped = tuple(file for content in contents for file in content.skipped)
    for path, of_source in listed.files:
        if not any(documents[file.key] for file in of_source):
            names = {file.name for file in of_source}
            broken = [file for file in skipped if file.file in names]
            raise _without_documents(path, SkippedRows.total(skipped_rows[file.key] for file in of_source), broken)
    _check_unique(blocks, contents)
    unread: Counter[str] = Counter()
    for content in contents:
        unread.update(content.unread)
    problems = SkippedRows.total(content.problems for content in contents)
    shares = _shares(contents, shards)
    return Collection(tuple(blocks), shares, listed.ignored, unread, problems, SkippedRows.total(bad_rows), skipped)


def write_documents(
    pipelines: Pipelines, before: Collection, target: Target, *, show_progress: bool
) -> tuple[Share, ...]:
    """Read all files again, and write the documents of the wanted shards; return what every shard has.

    Raises:
        InputFileError: the files are not what they were before.
        RepositoryError: the URL cannot be written.
    """
    blocks = [replace(block, target=target) for block in before.blocks]
    shares = _shares(_read(pipelines, blocks, "Distributing", show_progress=show_progress), len(before.shares))
    if [replace(share, objects=()) for share in shares] != list(before.shares):
        raise _changed()
    return shares


def read_documents(target: Target, names: Sequence[str]) -> Iterator[Document]:
    """Yield the documents in objects that `write_documents` wrote, in order."""
    objects = objects_at(target.url, target.storage_options)
    for name in names:
        try:
            lines = gzip.decompress(objects.read(name)).decode().split("\n")
        except (MissingObjectError, EOFError, OSError) as error:
            raise RepositoryError(
                f"{objects.url}/{name}: is damaged or gone; run the same build again, alone"
            ) from error
        for line in lines:
            id_, text, metadata = json.loads(line)
            yield Document(id_, text, metadata, name)


def remove_documents(url: str, storage_options: Mapping[str, Any] | None) -> None:
    """Remove all objects that builds have written, also interrupted ones."""
    objects = objects_at(url, storage_options)
    objects.remove([f"{FOLDER}/{name}" for name in objects.sizes(FOLDER)])


def read_block(block: Block) -> BlockContent:
    """Read the files of a block, in a task of its own."""
    shares: dict[int, Share] = {}
    ids = bytearray()
    counts = [0] * len(block.files)
    unread: Counter[str] = Counter()
    problems = [SkippedRows()] * len(block.files)
    skipped_rows = [SkippedRows()] * len(block.files)
    writer = None if block.target is None else _Writer(block.number, block.target)

    def on_problem(row: SkippedRow) -> None:
        problems[position] = problems[position].with_row(row)

    def on_bad_row(row: SkippedRow) -> None:
        skipped_rows[position] = skipped_rows[position].with_row(row)

    def add(document: Document) -> None:
        shard = owner(document.id, block.shards)
        line = json.dumps([document.id, document.text, document.metadata], sort_keys=True)
        digest = int.from_bytes(hashlib.blake2b(line.encode(), digest_size=32).digest(), "big")
        shares[shard] = shares.get(shard, Share()) + Share(1, digest)
        ids.extend(_id_digest(document.id))
        counts[position] += 1
        if writer is not None and shard in writer.target.wanted:
            writer.add(shard, line)

    skipped = []
    for position, file in enumerate(block.files):
        try:
            for document in file.documents(on_bad_row=on_bad_row, on_unread=unread.update, on_problem=on_problem):
                add(document)
        except MissingExtraError:
            # Another machine may have it.
            raise
        except InputFileError as error:
            if counts[position]:
                raise
            skipped.append(Skipped.of(file.name, error))
        else:
            if not counts[position] and not skipped_rows[position]:
                skipped.append(
                    Skipped(file.name, f"{file.name}: contains no documents; check that it is the right file")
                )
    if writer is not None:
        writer.flush()
        shares = {shard: replace(share, objects=tuple(writer.names.get(shard, ()))) for shard, share in shares.items()}
    lines = SkippedRows.total(problems)
    return BlockContent(shares, bytes(ids), tuple(counts), unread, lines, tuple(skipped_rows), tuple(skipped))


def list_sources(paths: Sequence[str | Path]) -> Sources:
    """Return the files of every source, and the count of those that are not read.

    Raises:
        InputFileError: there is no such file or folder, or a folder has no files that are read.
    """
    sources, ignored = [], []
    for path in (Path(path).absolute() for path in paths):
        listing = list_files([path], FileSelection())
        sources.append((path, list(listing.files.values())))
        ignored.append(listing.ignored)
    return Sources(tuple(sources), Ignored.total(ignored))


def _blocks(files: Sequence[SourceFile], shards: int) -> list[Block]:
    blocks: list[Block] = []
    held: list[SourceFile] = []
    size = 0
    for position, file in enumerate(files, 1):
        held.append(file)
        size += _size(file)
        if size >= _BLOCK_BYTES or position == len(files):
            blocks.append(Block(len(blocks), tuple(held), size, shards))
            held, size = [], 0
    return blocks


def _size(file: SourceFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError:
        # Reading it says what is wrong.
        return 0


def _read(pipelines: Pipelines, blocks: Sequence[Block], name: str, *, show_progress: bool) -> list[BlockContent]:
    """Read all blocks on the cluster; return what they have, in order."""
    contents: dict[int, BlockContent] = {}
    total = sum(block.size for block in blocks)
    with progress_bar(total, name, enabled=show_progress, unit="bytes") as advance:
        for block, content in pipelines.map(read_block, blocks, resources={"num_cpus": 1}, lost=_lost):
            contents[block.number] = content
            advance(block.size)
    return [contents[block.number] for block in blocks]


def _lost(block: Block) -> tuple[str, str]:
    return f"the task that reads {block.files[0].name}", "give it more memory, or split large files"


def _shares(contents: Sequence[BlockContent], shards: int) -> tuple[Share, ...]:
    shares = [Share()] * shards
    for content in contents:
        for shard, share in content.shares.items():
            shares[shard] += share
    return tuple(shares)


def _id_digest(id_: str) -> bytes:
    return hashlib.blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES).digest()


def _check_unique(blocks: Sequence[Block], contents: Sequence[BlockContent]) -> None:
    """Raise InputFileError for the first document whose id another one has."""
    digests = np.frombuffer(b"".join(content.ids for content in contents), np.uint64).reshape(-1, 2)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    equal = (digests[order[1:]] == digests[order[:-1]]).all(axis=1)
    if not equal.any():
        return
    # lexsort is stable: the second of two that are equal is the later one.
    wanted = digests[int(order[1:][equal].min())].tobytes()
    seen = False
    for block, content in zip(blocks, contents, strict=True):
        if wanted not in content.ids:
            continue
        for document in _documents_again(block):
            if _id_digest(document.id) != wanted:
                continue
            if seen:
                raise InputFileError(f"{document.origin}: duplicate id {shown_id(document.id)}; ids must be unique")
            seen = True
    raise _changed()


def _documents_again(block: Block) -> Iterator[Document]:
    """Yield the documents of a block, without the files that were skipped."""
    for file in block.files:
        with suppress(InputFileError):
            yield from file.documents(on_bad_row=_ignore)


def _ignore(_row: SkippedRow) -> None:
    """Ignore a bad row, which was counted before."""


def _without_documents(path: Path, bad_rows: SkippedRows, broken: Sequence[Skipped]) -> InputFileError:
    if broken and not bad_rows:
        more = f" (and {len(broken) - 1:,} more files)" if len(broken) > 1 else ""
        return InputFileError(f"{broken[0].message}{more}")
    if not bad_rows:
        return InputFileError(f"{path}: contains no documents; check that it is the right file")
    others = bad_rows.count - 1
    more = f" (and {others:,} more: {path.name} has no valid row)" if others else ""
    return InputFileError(f"{bad_rows.first[0].message}{more}")


def _changed() -> InputFileError:
    return InputFileError("the files have changed while they were read; run the same again")
