"""The indexes that are attacked: templates, the changes made to them, and what must be in them before and after."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from helpers.fakes import WordEncoder
from helpers.small_engine import shrink

from serotine import Index
from serotine.errors import SerotineError
from serotine.index import SourceRecord, SourceUpdate
from serotine.languages import detect_language

# Loaded before the forks, so that no attempt loads it again.
detect_language("seen bat later owl")

Contents = Mapping[str, tuple[str | None, str]]
ENCODER = WordEncoder(8)
# An attempt may raise these: the change is refused, in words.
EXPECTED = (SerotineError, OSError)
FIRST = {f"s{i}": f"seen bat {i} {i * i}" for i in range(12)}
MORE = {f"m{i}": f"more owl {i} {i + 7}" for i in range(9)}


def opened(path: Path, *, read_only: bool = False) -> Index:
    """Open an index with maintenance thresholds so low that a few documents trigger every job."""
    shrink()
    return Index.open(path, read_only=read_only, encoder=ENCODER)


def contents(index: Index) -> dict[str, tuple[str | None, str]]:
    """Return every document: its text and metadata."""
    return {hit.id: (hit.text, repr(sorted(hit.metadata.items()))) for hit in index.documents()}


def checked(path: Path, *, writable: bool = True) -> dict[str, tuple[str | None, str]]:
    """Open, verify and search an index, and go on writing to it; return what was in it."""
    with opened(path, read_only=not writable) as index:
        report = index.verify()
        found = contents(index)
        assert report.documents == len(found) == len(index)
        if found:
            hits = index.search("bat owl", k=len(found) + 1)
            assert {hit.id for hit in hits} == set(found), "a search does not return every document"
        for id_, (text, _) in found.items():
            if index.stats().keep_vectors and text is not None:
                expected = ENCODER.encode_documents([text])[0].astype(np.float16)
                assert np.array_equal(index.vectors(id_), expected), f"the vectors of {id_} are not its text's"
        if writable:
            index.add(ids=["later"], texts=["a later bat"])
            assert "later" in index
            after = index.verify()
            assert after.stray_files == (), f"stray files stay: {after.stray_files}"
            assert contents(index) == {**found, "later": ("a later bat", "[]")}
    return found


def of(documents: Mapping[str, str], metadata: Mapping[str, dict[str, Any]] | None = None) -> Contents:
    return {id_: (text, repr(sorted((metadata or {}).get(id_, {}).items()))) for id_, text in documents.items()}


def add(index: Index, documents: Mapping[str, str], **options: Any) -> None:
    index.add(ids=list(documents), texts=list(documents.values()), **options)


@dataclass(frozen=True)
class Change:
    """A change of an index.

    Attributes:
        template: name of the index before it.
        apply: makes the change; gets the folder of the index, which is closed.
        after: what is in the index afterwards, from what was in it before.
    """

    template: str
    apply: Callable[[Path], None]
    after: Callable[[dict[str, Any]], dict[str, Any]]


def _changing(function: Callable[[Index], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with opened(path) as index:
            function(index)

    return apply


def _update(name: str, documents: Mapping[str, str]) -> SourceUpdate:
    ids = list(documents)
    return SourceUpdate(SourceRecord(name, "digest", "", ""), ids, list(documents.values()), [{} for _ in ids])


def _sources(index: Index) -> None:
    index.update_sources([_update("a.txt", {"f0": "file bat", "f1": "file owl"})])


def _create(path: Path) -> None:
    shrink()
    Index.create(path, encoder=ENCODER).close()


def _snapshot(path: Path) -> None:
    with opened(path, read_only=True) as index:
        index.snapshot(path.with_name("copy"))


def _link(path: Path) -> None:
    with opened(path, read_only=True) as index:
        index.snapshot(path.with_name("copy"), hard_links=True)


def _restore(path: Path) -> None:
    Index.restore(path.with_name("source"), path, overwrite=True)


NEW = {f"n{i}": f"new bat {i}" for i in range(3)}
CHANGES = {
    "create": Change("", _create, lambda before: {}),
    "add": Change("small", _changing(lambda index: add(index, NEW)), lambda before: {**before, **of(NEW)}),
    "upsert": Change(
        "small",
        _changing(lambda index: add(index, {"m0": "other owl", "n0": "new"}, upsert=True)),
        lambda before: {**before, **of({"m0": "other owl", "n0": "new"})},
    ),
    "delete": Change(
        "grown",
        _changing(lambda index: index.delete(["s0", "m0"])),
        lambda before: {id_: value for id_, value in before.items() if id_ not in ("s0", "m0")},
    ),
    "update_metadata": Change(
        "grown",
        _changing(lambda index: index.update_metadata(["s1"], [{"year": 2}])),
        lambda before: {**before, **of({"s1": FIRST["s1"]}, {"s1": {"year": 2}})},
    ),
    "train": Change("empty", _changing(lambda index: add(index, FIRST)), lambda before: of(FIRST)),
    "merge": Change("almost", _changing(lambda index: add(index, NEW)), lambda before: {**before, **of(NEW)}),
    "compact": Change("grown", _changing(lambda index: index.compact()), lambda before: before),
    "compact without vectors": Change("bare", _changing(lambda index: index.compact()), lambda before: before),
    "update_sources": Change(
        "small", _changing(_sources), lambda before: {**before, **of({"f0": "file bat", "f1": "file owl"})}
    ),
    "snapshot": Change("grown", _snapshot, lambda before: before),
    "snapshot by links": Change("grown", _link, lambda before: before),
    "restore": Change("small", _restore, lambda before: before),
}


def make_template(path: Path, name: str, *, nbits: int = 4) -> None:
    """Create the index `name` as it is before a change."""
    shrink()
    with Index.create(path, encoder=ENCODER, keep_vectors=name != "bare", nbits=nbits) as index:
        if name == "empty":
            return
        if name == "small":
            add(index, {"m0": MORE["m0"], "m1": MORE["m1"]})
            return
        add(index, FIRST)
        if name == "almost":
            for id_, text in list(MORE.items())[:-1]:
                add(index, {id_: text})
            return
        add(index, MORE)
        index.delete(["s3", "m1", "m2"])


class Templates:
    """Indexes made once, and copied for every attempt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.contents: dict[str, dict[str, Any]] = {}
        for name in ("empty", "small", "almost", "grown", "bare"):
            make_template(folder / name, name)
            with opened(folder / name, read_only=True) as index:
                self.contents[name] = contents(index)

    def copy(self, name: str, path: Path) -> dict[str, Any]:
        """Copy a template to `path`; return what is in it."""
        if name:
            shutil.copytree(self._folder / name, path)
        return self.contents.get(name, {})
