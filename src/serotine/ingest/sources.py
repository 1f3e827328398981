"""Where documents come from: a file, told by its name, or a folder of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.chunking import Chunker
from serotine.ingest.document import Document, place_as_id
from serotine.ingest.extract import Extract
from serotine.ingest.html import read_html
from serotine.ingest.jsonl import read_jsonl
from serotine.ingest.lines import read_whole
from serotine.ingest.markdown import read_markdown
from serotine.ingest.parquet import read_parquet
from serotine.ingest.pdf import read_pdf
from serotine.ingest.table import read_csv
from serotine.ingest.text import read_text

_BEIR_FILES = ("corpus.jsonl", "corpus.jsonl.gz")
# Files that hold many documents, and files that are one.
_RECORDS: dict[str, Callable[[Path, str], Iterator[Document]]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
_TEXTS: dict[str, Callable[[bytes, str], Extract]] = {
    ".txt": read_text,
    ".md": read_markdown,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
}
SUFFIXES = (*_RECORDS, *_TEXTS)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read.

    Attributes:
        path: where it lies.
        name: what ids and messages call it; its suffix says how it is read.
        key: what an index records it under.
    """

    path: Path
    name: str
    key: str

    @classmethod
    def at(cls, path: Path) -> SourceFile:
        """A file under the path it was found by; an index tells it by where that leads."""
        return cls(path, path.as_posix(), os.path.abspath(path))  # noqa: PTH100 - links are not followed

    @classmethod
    def named(cls, path: str | Path, name: str) -> SourceFile:
        """A file under a name of the caller's, such as an upload in a temporary place."""
        return cls(Path(path), name, name)

    @property
    def is_text(self) -> bool:
        """Whether it is one text rather than many documents."""
        return _suffix(self.name) in _TEXTS

    def documents(self, chunker: Chunker | None = None) -> Iterator[Document]:
        """Yields its documents one at a time; those of a text are its passages, or all of it without a chunker.

        A text without words gives none.

        Raises:
            InputFileError: what is wrong, naming the file and the line.
        """
        suffix = _suffix(self.name)
        if suffix in _RECORDS:
            yield from _RECORDS[suffix](self.path, self.name)
        elif suffix in _TEXTS:
            yield from self._passages(_TEXTS[suffix](read_whole(self.path, self.name), self.name), chunker)
        else:
            raise InputFileError(
                f"{self.name}: is of no kind that can be read; want {', '.join(SUFFIXES)}, or one of them .gz"
            )

    def _passages(self, extract: Extract, chunker: Chunker | None) -> Iterator[Document]:
        name = place_as_id(self.name)
        if not extract.text.strip():
            return
        if chunker is None:
            yield Document(name, extract.text.strip(), extract.metadata, name)
            return
        chunks = chunker.chunks(extract)
        for number, chunk in enumerate(chunks, 1):
            place: dict[str, Any] = {"source": name, "start": chunk.start, "end": chunk.end}
            if chunk.headings:
                place["heading"] = " > ".join(chunk.headings)
            if chunk.page is not None:
                place["page"] = chunk.page
            id_ = name if len(chunks) == 1 else f"{name}#{number}"
            yield Document(id_, extract.text[chunk.start : chunk.end], {**extract.metadata, **place}, name)


def read(sources: Iterable[str | Path]) -> Iterator[Document]:
    """Yields the documents of files and folders, in order, one at a time; texts whole, with the path as id.

    A file is read by its suffix, one of `SUFFIXES`; each may be compressed (.gz). Of a folder, `corpus.jsonl` or
    `corpus.jsonl.gz` is read where there is one (the BEIR format), otherwise every file of these kinds in it and
    below, sorted by path, hidden ones left out.

    Raises:
        InputFileError: what is wrong, naming the file and the line; also for a source without documents.
    """
    for source in sources:
        path = Path(source)
        empty = True
        for file in files(path):
            for document in SourceFile.at(file).documents():
                empty = False
                yield document
        if empty:
            raise InputFileError(f"{path}: holds no documents; check that it is the right file")


def files(path: Path) -> list[Path]:
    """The files to read of a file or folder.

    Raises:
        InputFileError: nothing is there, or nothing that can be read.
    """
    if path.is_dir():
        for name in _BEIR_FILES:
            if (path / name).is_file():
                return [path / name]
        found = sorted(file for file in path.rglob("*") if readable(file.relative_to(path)) and file.is_file())
        if not found:
            raise InputFileError(f"{path}: no {', '.join(SUFFIXES)} files in this folder; name the files to read")
        return found
    if not path.exists():
        raise InputFileError(f"{path}: no such file or folder; check the path")
    if not path.is_file():
        raise InputFileError(f"{path}: is neither a file nor a folder; write what it gives to a file first")
    return [path]


def readable(path: Path) -> bool:
    """Whether a file of a folder, by its path in it, is one that is read: of a known kind, and not hidden."""
    return _suffix(path.name) in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _suffix(name: str) -> str:
    base = name.lower().removesuffix(".gz")
    return os.path.splitext(base)[1]  # noqa: PTH122 - a name need not be a path
