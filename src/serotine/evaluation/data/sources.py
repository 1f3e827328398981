"""What a person names, a folder, a benchmark's collection or a suite, to the collections that are meant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Protocol

from serotine.errors import InputFileError
from serotine.evaluation.data import hub, irdatasets, miracl
from serotine.evaluation.data.beir import BeirFiles
from serotine.evaluation.data.benchmarks import BEIR15, FORUMS, MIRACL18, beir_name
from serotine.evaluation.data.collection import Collection

CQADUPSTACK = "cqadupstack"
SUITES = ("beir15", "miracl18")
_IR_DATASETS = "ir_datasets:"
_TELLTALE = ("corpus.jsonl", "corpus.jsonl.gz", "queries.jsonl", "queries.jsonl.gz", "qrels", "queries")
_CHUNK = 1 << 22


class Files(Protocol):
    """The files of one split of a collection."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        ...

    def load(self) -> Collection:
        """Read them."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A collection that has not been read yet.

    Attributes:
        name: what it is called.
        load: reads it, downloading it first where need be.
        fingerprint: changes whenever its contents might; much faster than reading it.
        group: the collection it is a part of, whose figure is the unweighted mean of its parts.

    >>> from serotine.evaluation import Collection, Source
    >>> toy = Collection("toy", {"d": "owls"}, {"q": "owl?"}, {"q": {"d": 1}})
    >>> Source("toy", lambda: toy, lambda: "version 1").load().name
    'toy'
    """

    name: str
    load: Callable[[], Collection]
    fingerprint: Callable[[], str]
    group: str | None = None


def find_sources(name: str, split: str | None = None) -> list[Source]:
    """The collections that a name means.

    Args:
        name: a BEIR folder, a folder of CQADupStack's forums, a MIRACL folder (every language in it); `beir/scifact`
            or `miracl/sw`, from the hub; `ir_datasets:` and an id of that library.
        split: which judgements; those that published figures are of unless given.

    Raises:
        InputFileError: there is no such collection, or its files are missing.

    >>> from serotine.evaluation import find_sources
    >>> [source.name for source in find_sources("beir/cqadupstack")][:2]  # named, not yet downloaded
    ['cqadupstack-android', 'cqadupstack-english']
    """
    if name.startswith(_IR_DATASETS):
        id_ = name.removeprefix(_IR_DATASETS)
        if split is not None and id_.rsplit("/", 1)[-1] != split:
            raise InputFileError(f"{name}: an id of ir_datasets names its split itself; name that of {split!r}")
        called = irdatasets.collection_name(id_)
        return [Source(called, partial(irdatasets.load, id_), partial(irdatasets.fingerprint, id_))]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _in_folder(folder, split)
    benchmark, slash, collection = name.partition("/")
    if slash and benchmark == "beir" and (beir_name(collection) or not folder.parent.is_dir()):
        return _of_beir(beir_name(collection) or collection, split)
    if slash and benchmark == "miracl" and collection in MIRACL18:
        return [_of_files(f"miracl-{collection}", partial(hub.miracl, collection, split))]
    raise InputFileError(
        f"{name}: no such folder; want a BEIR or MIRACL folder, beir/NAME, miracl/LANGUAGE or {_IR_DATASETS}ID"
    )


def find_suite(name: str, split: str | None = None) -> tuple[list[Source], list[str]]:
    """The collections of a suite.

    Args:
        name: "beir15", "miracl18", or a folder whose folders are collections.
        split: as `find`.

    Returns:
        The collections, and the names of folders that were passed over because they look like none.

    Raises:
        InputFileError: as `find`; or the folder holds no collection.
    """
    if name == "beir15":
        return [source for one in BEIR15 for source in _of_beir(one, split)], []
    if name == "miracl18":
        return [source for language in MIRACL18 for source in find_sources(f"miracl/{language}", split)], []
    root = Path(name).expanduser()
    if not root.is_dir():
        raise InputFileError(f"{name}: neither {' nor '.join(SUITES)} nor a folder of collections")
    found: list[Source] = []
    passed_over = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if _looks_like_one(folder):
            found += _in_folder(folder, split)
        elif not folder.name.startswith("miracl-corpus-"):
            passed_over.append(folder.name)
    if not found:
        raise InputFileError(f"{name}: holds no collection; each of its folders should be a BEIR or a MIRACL folder")
    return found, passed_over


def validate_unique_names(sources: list[Source]) -> None:
    """Reject two collections of one name: their results could not be told apart.

    Raises:
        InputFileError: which.
    """
    seen = set()
    for source in sources:
        if source.name in seen:
            raise InputFileError(
                f"{source.name}: two collections have this name; rename a folder, or judge one at a time"
            )
        seen.add(source.name)


def _of_files(name: str, files: Callable[[], Files], group: str | None = None) -> Source:
    found = cache(files)
    return Source(name, lambda: found().load(), lambda: _digest(found().files), group)


def _of_beir(name: str, split: str | None) -> list[Source]:
    if name != CQADUPSTACK:
        return [_of_files(name, partial(hub.beir, name, split))]
    return [_of_files(f"{name}-{forum}", partial(hub.beir, f"{name}-{forum}", split), CQADUPSTACK) for forum in FORUMS]


def _in_folder(folder: Path, split: str | None) -> list[Source]:
    languages = miracl.languages(folder)
    if languages and not any(_is_beir(path) for path in folder.iterdir()):
        found = [miracl.find_miracl(folder, language, split) for language in languages]
        return [_of_files(files.name, partial(_same, files)) for files in found]
    forums = [forum for forum in FORUMS if _looks_like_one(folder / forum)]
    if forums:
        missing = [forum for forum in FORUMS if forum not in forums]
        if missing:
            raise InputFileError(
                f"{folder}: lacks {', '.join(missing)} "
                f"of CQADupStack's {len(FORUMS)} forums, and its figure is their mean; "
                "add them, or name single forums"
            )
        parts = [BeirFiles.find(folder / forum, split, name=f"{CQADUPSTACK}-{forum}") for forum in forums]
        return [_of_files(files.name, partial(_same, files), CQADUPSTACK) for files in parts]
    if not _looks_like_one(folder) or languages:
        inside = [path for path in folder.iterdir() if path.is_dir() and _looks_like_one(path)]
        instead = f"; its folders are collections: --suite {folder}" if inside else ""
        raise InputFileError(
            f"{folder}: holds neither corpus.jsonl, queries.jsonl and qrels/ (BEIR), nor topics and docs-*.jsonl.gz "
            f"(MIRACL){instead}"
        )
    parent = folder.resolve().parent.name
    name = f"{parent}-{folder.name}" if parent == CQADUPSTACK and folder.name in FORUMS else None
    files = BeirFiles.find(folder, split, name=name)
    return [_of_files(files.name, partial(_same, files))]


def _same(files: Files) -> Files:
    return files


def _is_beir(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def _looks_like_one(folder: Path) -> bool:
    return (
        any((folder / name).exists() for name in _TELLTALE)
        or bool(miracl.languages(folder))
        or any((folder / forum).is_dir() for forum in FORUMS)
    )


def _digest(files: tuple[Path, ...]) -> str:
    """One hash of the names and contents of some files."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file.name}\n".encode())
        try:
            with file.open("rb") as opened:
                while data := opened.read(_CHUNK):
                    digest.update(data)
        except OSError as error:
            raise InputFileError(f"{file}: cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()
