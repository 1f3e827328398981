"""Collections by name: a folder, a collection of a benchmark, or a suite."""

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
_BEIR_ENTRIES = ("corpus.jsonl", "corpus.jsonl.gz", "queries.jsonl", "queries.jsonl.gz", "qrels", "queries")
_READ_SIZE = 1 << 22


class Files(Protocol):
    """The files of one split of a collection."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of the files."""
        ...

    def load(self) -> Collection:
        """Load the collection."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A collection that is loaded on demand.

    Attributes:
        name: the name of the collection.
        load: loads the collection, downloading it first if necessary.
        fingerprint: returns a hash that changes with the contents; much faster than loading.
        group: the collection it belongs to, whose figure is the unweighted mean of its members; None for none.

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
    """Return the collections that a name refers to.

    Args:
        name: a BEIR folder, a folder of CQADupStack's forums, a MIRACL folder (every language in it); `beir/scifact`
            or `miracl/sw`, from the hub; `ir_datasets:` and an id of that library.
        split: the split of the judgements; by default that of published figures.

    Raises:
        InputFileError: the collection does not exist, or its files are missing.

    >>> from serotine.evaluation import find_sources
    >>> [source.name for source in find_sources("beir/cqadupstack")][:2]  # named, not yet downloaded
    ['cqadupstack-android', 'cqadupstack-english']
    """
    if name.startswith(_IR_DATASETS):
        id_ = name.removeprefix(_IR_DATASETS)
        if split is not None and id_.rsplit("/", 1)[-1] != split:
            raise InputFileError(f"{name}: an id of ir_datasets includes its split; pass the id of split {split!r}")
        collection_name = irdatasets.collection_name(id_)
        return [Source(collection_name, partial(irdatasets.load, id_), partial(irdatasets.fingerprint, id_))]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _in_folder(folder, split)
    benchmark, slash, collection = name.partition("/")
    if slash and benchmark == "beir" and (beir_name(collection) or not folder.parent.is_dir()):
        return _of_beir(beir_name(collection) or collection, split)
    if slash and benchmark == "miracl" and collection in MIRACL18:
        return [_of_files(f"miracl-{collection}", partial(hub.miracl, collection, split))]
    raise InputFileError(
        f"{name}: no such folder; pass a BEIR or MIRACL folder, beir/NAME, miracl/LANGUAGE or {_IR_DATASETS}ID"
    )


def find_suite(name: str, split: str | None = None) -> tuple[list[Source], list[str]]:
    """Return the collections of a suite, and the names of subfolders skipped because they are not collections.

    Args:
        name: "beir15", "miracl18", or a folder whose subfolders are collections.
        split: as in `find_sources`.

    Raises:
        InputFileError: as in `find_sources`; or the folder contains no collection.
    """
    if name == "beir15":
        return [source for collection in BEIR15 for source in _of_beir(collection, split)], []
    if name == "miracl18":
        return [source for language in MIRACL18 for source in find_sources(f"miracl/{language}", split)], []
    root = Path(name).expanduser()
    if not root.is_dir():
        raise InputFileError(
            f"{name}: must be {', '.join(map(repr, SUITES))} or a folder of collections; no such folder"
        )
    sources: list[Source] = []
    skipped = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if _is_collection(folder):
            sources += _in_folder(folder, split)
        elif not folder.name.startswith("miracl-corpus-"):
            skipped.append(folder.name)
    if not sources:
        raise InputFileError(f"{name}: contains no collection; its subfolders must be BEIR or MIRACL folders")
    return sources, skipped


def validate_unique_names(sources: list[Source]) -> None:
    """Reject two collections of the same name, whose results would overwrite each other.

    Raises:
        InputFileError: two collections have the same name.
    """
    names = set()
    for source in sources:
        if source.name in names:
            raise InputFileError(
                f"{source.name}: two collections have this name; rename a folder, or evaluate one at a time"
            )
        names.add(source.name)


def _of_files(name: str, files: Callable[[], Files], group: str | None = None) -> Source:
    cached = cache(files)
    return Source(name, lambda: cached().load(), lambda: _hash(cached().files), group)


def _of_beir(name: str, split: str | None) -> list[Source]:
    if name != CQADUPSTACK:
        return [_of_files(name, partial(hub.beir, name, split))]
    return [_of_files(f"{name}-{forum}", partial(hub.beir, f"{name}-{forum}", split), CQADUPSTACK) for forum in FORUMS]


def _in_folder(folder: Path, split: str | None) -> list[Source]:
    languages = miracl.languages(folder)
    if languages and not any(_is_beir(path) for path in folder.iterdir()):
        return [_local(miracl.find_miracl(folder, language, split)) for language in languages]
    forums = [forum for forum in FORUMS if _is_collection(folder / forum)]
    if forums:
        missing = [forum for forum in FORUMS if forum not in forums]
        if missing:
            raise InputFileError(
                f"{folder}: lacks {', '.join(missing)} of CQADupStack's {len(FORUMS)} forums, whose mean is its "
                "figure; add them, or name single forums"
            )
        return [
            _local(BeirFiles.find(folder / forum, split, name=f"{CQADUPSTACK}-{forum}"), CQADUPSTACK)
            for forum in forums
        ]
    if not _is_collection(folder) or languages:
        is_suite = any(path.is_dir() and _is_collection(path) for path in folder.iterdir())
        fix = f"; its subfolders are collections: pass --suite {folder}" if is_suite else ""
        raise InputFileError(
            f"{folder}: contains neither corpus.jsonl, queries.jsonl and qrels/ (BEIR), nor topics and docs-*.jsonl.gz "
            f"(MIRACL){fix}"
        )
    parent = folder.resolve().parent.name
    name = f"{parent}-{folder.name}" if parent == CQADUPSTACK and folder.name in FORUMS else None
    return [_local(BeirFiles.find(folder, split, name=name))]


def _local(files: BeirFiles | miracl.MiraclFiles, group: str | None = None) -> Source:
    return Source(files.name, files.load, lambda: _hash(files.files), group)


def _is_beir(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("corpus.jsonl", "corpus.jsonl.gz"))


def _is_collection(folder: Path) -> bool:
    return (
        any((folder / name).exists() for name in _BEIR_ENTRIES)
        or bool(miracl.languages(folder))
        or any((folder / forum).is_dir() for forum in FORUMS)
    )


def _hash(files: tuple[Path, ...]) -> str:
    """Return a hash of the names and contents of files."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file.name}\n".encode())
        try:
            with file.open("rb") as stream:
                while data := stream.read(_READ_SIZE):
                    digest.update(data)
        except OSError as error:
            raise InputFileError(f"{file}: cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()
