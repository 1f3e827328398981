"""The files of sources, each of them once under any name, and the count of ignored files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from serotine.errors import InputFileError
from serotine.ingest.document import Document
from serotine.ingest.file_state import is_gone
from serotine.ingest.file_types import SUFFIXES, file_type
from serotine.ingest.generated import is_index_folder
from serotine.ingest.sources import SourceFile
from serotine.ingest.walk import FileSelection, FolderFiles, FoundFile, Ignored, is_within, walk
from serotine.wording import local_fix, worded


class NothingIncludedError(InputFileError):
    """A folder of which the patterns of `FileSelection.include` match no file."""


class NoFilesError(InputFileError):
    """A source that does not exist, or a folder without a file that is read.

    Attributes:
        fault: the message without what to do.
        folder: what the folder has instead; None for a source that does not exist.
    """

    def __init__(self, fault: str, fix: str, folder: FolderFiles | None = None) -> None:
        super().__init__(f"{fault}; {fix}")
        self.fault = fault
        self.folder = folder


_BEIR_FILES = ("corpus.jsonl", "corpus.jsonl.gz")


@dataclass(slots=True)
class Listing:
    """The files of an update.

    Attributes:
        files: by the keys that an index records.
        ignored: the files of folders that are not read.
        roots: paths of the files and folders among the sources, with and without links resolved.
        excluded: keys of files and folders that rules leave out.
        without_files: folders and other sources of which no file can be read, each with the reason; what an index has
            of them stays.
        kept: keys of recorded files that do not exist, but stay: their folder is there, and empty.
    """

    files: dict[str, SourceFile] = field(default_factory=dict)
    ignored: Ignored = field(default_factory=Ignored)
    roots: list[str] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    without_files: dict[str, InputFileError] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)

    def is_gone(self, key: str) -> bool:
        """Return whether a recorded file is no longer part of these sources: it does not exist, or is left out."""
        if key in self.files or key in self.kept or not any(is_within(key, root) for root in self.roots):
            return False
        return is_gone(key) or self.is_excluded(key)

    def is_excluded(self, key: str) -> bool:
        """Return whether rules leave out a recorded file, or a folder that it is in."""
        return any(path in self.excluded for path in (key, *map(str, Path(key).parents)))


def list_files(
    sources: Sequence[str | Path | SourceFile],
    selection: FileSelection,
    known: Callable[[str | Path], int] = lambda _: 0,
    *,
    allow_empty: bool = False,
) -> Listing:
    """Return the files of sources; those of two sources once.

    Args:
        sources: files, folders and uploads.
        selection: which files of folders are read.
        known: returns how many documents an index has of a source.
        allow_empty: whether a folder may have no files, and a source that an index knows may be missing.

    Raises:
        InputFileError: a source does not exist that no index knows, or none has files to read.
    """
    listing = Listing()
    ignored: list[Ignored] = []
    real_paths: set[str] = set()
    for source in sources:
        if isinstance(source, SourceFile):
            if source.key in listing.files:
                raise InputFileError(f"{source.name}: duplicate file name; names must be unique")
            listing.files[source.key] = source
            continue
        try:
            folder = find_files(Path(source), selection)
        except NothingIncludedError:
            # What an index has of the folder is not to be deleted because a pattern is mistyped.
            raise
        except NoFilesError as error:
            documents = known(source)
            if error.folder is None and not documents:
                raise InputFileError(str(error)) from None
            if not allow_empty:
                listing.without_files[str(Path(source))] = with_kept(error, documents)
                continue
            folder = error.folder or FolderFiles([], Ignored())
        except InputFileError as error:
            listing.without_files[str(Path(source))] = with_kept(error, known(source))
            continue
        listing.roots += source_roots(source)
        listing.excluded |= folder.excluded
        ignored.append(folder.ignored)
        for file in folder.files:
            if file.real not in real_paths:
                real_paths.add(file.real)
                listing.files.setdefault(file.key, SourceFile.at(file.path, file.key))
    if listing.without_files and not (listing.files or listing.roots):
        first, *others = listing.without_files.values()
        if others:
            raise InputFileError(f"none of {len(others) + 1:,} sources can be read, the first: {first}")
        raise first
    listing.ignored = Ignored.total(ignored)
    return listing


def source_roots(source: str | Path) -> set[str]:
    """Return the absolute paths of a source, with and without links resolved."""
    return {os.path.abspath(source), os.path.realpath(source)}  # noqa: PTH100


def with_kept(error: InputFileError, documents: int) -> InputFileError:
    """Return the error for a folder or file that cannot be read, which says what an index keeps of it."""
    if not documents:
        return InputFileError(str(error))
    kept = f"its {documents:,} {'document stays' if documents == 1 else 'documents stay'} in the index"
    if not isinstance(error, NoFilesError):
        return InputFileError(f"{error}; {kept}")
    # The disk may not be mounted.
    purpose = "if its files were removed on purpose"
    fix = local_fix(
        f"{purpose}, allow_empty=True removes them there too",
        command=f"{purpose}, --allow-empty removes them there too",
    )
    return InputFileError(f"{error.fault}; {kept}; {fix}")


def read(sources: Iterable[str | Path]) -> Iterator[Document]:
    """Yield the documents of files and folders, in order, one at a time; texts whole, with the path as id.

    A file is read by its suffix, one of `SUFFIXES`; each may be compressed (.gz). Of a folder, `corpus.jsonl` or
    `corpus.jsonl.gz` is read where it exists (the BEIR format), otherwise every file of these types in it and below,
    sorted by path, except those that `FileSelection` leaves out.

    Raises:
        InputFileError: a source is broken, or contains no documents; names the file and the line.
    """
    for source in sources:
        path = Path(source)
        empty = True
        for file in find_files(path, FileSelection()).files:
            for document in SourceFile.at(file.path).documents():
                empty = False
                yield document
        if empty:
            raise InputFileError(f"{path}: contains no documents; check that it is the right file")


def check_is_no_index(path: Path) -> None:
    """Raise InputFileError for an index, which has no files to read."""
    if is_index_folder(path):
        find_files(path, FileSelection())


def _without_files(path: Path, folder: FolderFiles, selection: FileSelection) -> InputFileError:
    """Return the error for a folder without a file to read."""
    if is_index_folder(path):
        fix = local_fix(
            "search it with Index.search, or name the files it was made of",
            command="search it with serotine search, or name the files it was made of",
        )
        return InputFileError(f"{path}: an index, which has no files to read; {fix}")
    if folder.not_included:
        patterns = " or ".join(map(repr, selection.include))
        files = "its one file" if folder.not_included == 1 else f"any of its {folder.not_included:,} files"
        option = worded("include", http="include", command="--include")
        return NothingIncludedError(f"{path}: {option} {patterns} does not match {files}; correct the pattern")
    ignored = f" ({folder.ignored})" if folder.ignored else ""
    if folder.ignored.too_large:
        fix = local_fix("raise max_file_size", command="raise --max-file-size")
        return NoFilesError(f"{path}: no files to read in this folder{ignored}", fix, folder)
    return NoFilesError(
        f"{path}: no files of known types in this folder{ignored}",
        local_fix(
            "name files of the types in serotine.ingest.SUFFIXES",
            command="name files of the types that serotine index --help lists",
        ),
        folder,
    )


def _is_read(path: Path, selection: FileSelection) -> bool:
    return path.is_file() and (selection.follow_links or not path.is_symlink())


def find_files(path: Path, selection: FileSelection) -> FolderFiles:
    """Return the files to read of a file or folder.

    Raises:
        InputFileError: it does not exist, or has no files that can be read.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NoFilesError(f"{path}: no such file or folder", "check the path") from None
    except OSError as error:
        raise InputFileError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
    if path.is_dir():
        folder = walk(path, selection, lambda name: file_type(name) in SUFFIXES)
        corpus = next((path / name for name in _BEIR_FILES if _is_read(path / name, selection)), None)
        if corpus is not None:
            file = FoundFile(corpus, str(Path(os.path.realpath(path), corpus.name)), os.path.realpath(corpus))
            others = sum(other.path != corpus for other in folder.files)
            return FolderFiles([file], replace(folder.ignored, beside_corpus=others))
        if not folder.files:
            raise _without_files(path, folder, selection)
        return folder
    if not path.is_file():
        raise InputFileError(f"{path}: must be a file or a folder; write its content to a file first")
    real = os.path.realpath(path)
    # Patterns are for the files of folders.
    return FolderFiles([FoundFile(path, real, real)], Ignored(unmatched=selection.patterns))
