"""Where documents come from: a file, told by its name, or a folder of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from serotine.errors import InputFileError
from serotine.ingest.document import Document, place_as_id
from serotine.ingest.jsonl import read_jsonl
from serotine.ingest.lines import read_whole
from serotine.ingest.table import read_csv

_BEIR_FILES = ("corpus.jsonl", "corpus.jsonl.gz")


def read(sources: Iterable[str | Path]) -> Iterator[Document]:
    """Yields the documents of files and folders, in order, one at a time.

    A file is read by its suffix: .jsonl and .csv hold many documents, .txt and .md are one, with the path as id; each
    may be compressed (.gz). Of a folder, `corpus.jsonl` or `corpus.jsonl.gz` is read where there is one (the BEIR
    format), otherwise every file of these kinds in it and below, sorted by path, hidden ones left out.

    Raises:
        InputFileError: what is wrong, naming the file and the line; also for a source without documents.
    """
    for source in sources:
        path = Path(source)
        empty = True
        for file in _files(path):
            for document in _reader(file)(file):
                empty = False
                yield document
        if empty:
            raise InputFileError(f"{path}: holds no documents; check that it is the right file")


def _read_text(path: Path) -> Iterator[Document]:
    id_ = place_as_id(path.as_posix())
    yield Document(id_, read_whole(path).strip(), {}, id_)


_READERS: dict[str, Callable[[Path], Iterator[Document]]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".txt": _read_text,
    ".md": _read_text,
}
SUFFIXES = tuple(_READERS)


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _reader(path: Path) -> Callable[[Path], Iterator[Document]]:
    reader = _READERS.get(_suffix(path))
    if reader is None:
        raise InputFileError(f"{path}: is of no kind that can be read; want {', '.join(SUFFIXES)}, or one of them .gz")
    return reader


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        for name in _BEIR_FILES:
            if (path / name).is_file():
                return [path / name]
        found = sorted(file for file in path.rglob("*") if _suffix(file) in _READERS and file.is_file())
        found = [file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        if not found:
            raise InputFileError(f"{path}: no {', '.join(SUFFIXES)} files in this folder; name the files to read")
        return found
    if not path.exists():
        raise InputFileError(f"{path}: no such file or folder; check the path")
    if not path.is_file():
        raise InputFileError(f"{path}: is neither a file nor a folder; write what it gives to a file first")
    return [path]
