"""The served indexes, by name, and a summary of their documents' metadata."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serotine.errors import NotAnIndexError, SerotineError, UnknownIdError, shown_id
from serotine.index import Index
from serotine.serving.index_folders import SUFFIX, CatalogId, DelayedClose, catalog_id, index_name

# Seconds after which no call still uses a replaced index.
_MAX_CALL_SECONDS = 600.0
# Documents, spread over a collection, whose fields and values are read.
_SAMPLE_SIZE = 200
_MAX_FIELDS = 24
_MAX_EXAMPLES = 5
_MAX_EXAMPLE_LENGTH = 40
# A passage's position in its file: many values, useless as examples.
_POSITION_FIELDS = ("start", "end")


@dataclass(frozen=True, slots=True)
class MetadataField:
    """A metadata field.

    Attributes:
        name: name.
        type: name of the type.
        declared: whether filters use an index of it.
        examples: common values.
    """

    name: str
    type: str
    declared: bool
    examples: list[Any]


class ServedIndexes:
    """Open indexes by the names of their folders, without `.serotine`.

    Raises:
        SerotineError: two indexes have the same name, or one cannot be opened.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths: dict[str, Path] = {}
        self._open: dict[str, tuple[CatalogId | None, Index]] = {}
        self._opening = threading.Lock()
        self._retired = DelayedClose(_MAX_CALL_SECONDS)
        try:
            for path in paths:
                name = index_name(path)
                if name in self._paths:
                    raise SerotineError(f"{path}: duplicate index name {name!r}; rename one of the folders")
                self._paths[name] = path
                self._current(name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every index."""
        for _, index in self._open.values():
            index.close()
        self._retired.sweep(everything=True)

    @property
    def names(self) -> list[str]:
        """Names, in the order of the paths."""
        return list(self._paths)

    def select(self, name: str | None) -> dict[str, Index]:
        """Return the index of that name, or all that still exist.

        Raises:
            SerotineError: no index has that name.
            NotAnIndexError: the index, or every index, was removed.
        """
        if name is not None:
            plain_name = name.removesuffix(SUFFIX)
            if plain_name not in self._paths:
                raise SerotineError(f"index: unknown {name!r}; available: {', '.join(map(repr, self.names))}")
            return {plain_name: self._current(plain_name)}
        indexes = {}
        removed: NotAnIndexError | None = None
        for served_name in self._paths:
            try:
                indexes[served_name] = self._current(served_name)
            except NotAnIndexError as error:
                removed = error
        if removed is not None and not indexes:
            raise removed
        return indexes

    def _current(self, name: str) -> Index:
        """Return the index on disk, reopened if it was replaced.

        Raises:
            NotAnIndexError: the index was removed.
        """
        with self._opening:
            self._retired.sweep()
            # Before opening: an index replaced in between is opened again at the next call.
            on_disk = catalog_id(self._paths[name])
            if name in self._open:
                opened, index = self._open[name]
                if on_disk is not None and on_disk == opened:
                    return index
                del self._open[name]
                self._retired.schedule(index.close)
            index = Index.open(self._paths[name], read_only=True)
            self._open[name] = on_disk, index
            return index

    def find(self, id_: str, name: str | None) -> tuple[str, Index]:
        """Return the one index that contains a document, and its name.

        Raises:
            UnknownIdError: no index contains it.
            SerotineError: several indexes contain it.
        """
        indexes = self.select(name)
        matches = [(index_name_, index) for index_name_, index in indexes.items() if id_ in index]
        if not matches:
            where = f"index {next(iter(indexes))!r}" if len(indexes) == 1 else "any index"
            raise UnknownIdError(f"id: {shown_id(id_)} is not in {where}; use an id that search returned")
        if len(matches) > 1:
            names = ", ".join(repr(index_name_) for index_name_, _ in matches)
            raise SerotineError(f"id: {shown_id(id_)} is in several indexes; set index to one of {names}")
        return matches[0]


def metadata_fields(index: Index) -> list[MetadataField]:
    """Return the metadata fields of an index: the declared ones, and those in a sample of its documents."""
    declared = index.stats().filterable
    ids = index.ids()
    step = max(len(ids) // _SAMPLE_SIZE, 1)
    counts: dict[str, Counter[Any]] = {name: Counter() for name in declared}
    types: dict[str, str] = dict(declared)
    for metadata in _metadata(index, ids[::step][:_SAMPLE_SIZE]):
        for name, value in metadata.items():
            values = value if isinstance(value, list) else [value]
            scalars = [scalar for scalar in values if isinstance(scalar, str | int | float | bool)]
            if name not in counts:
                counts[name] = Counter()
                types[name] = type(value).__name__
            # Keyed by type too: True and 1 are equal, but different values.
            counts[name].update((type(scalar).__name__, scalar) for scalar in scalars)
    return [
        MetadataField(name, types[name], name in declared, [] if name in _POSITION_FIELDS else _examples(values))
        for name, values in list(counts.items())[:_MAX_FIELDS]
    ]


def _metadata(index: Index, ids: Sequence[str]) -> list[dict[str, Any]]:
    sample = []
    for id_ in ids:
        try:
            sample.append(index.get([id_])[0].metadata)
        except UnknownIdError:
            # Another process has deleted it.
            continue
    return sample


def _examples(values: Counter[Any]) -> list[Any]:
    """Return the most common short values; long ones are no use as filters."""
    short = [value for (_, value), _ in values.most_common() if len(str(value)) <= _MAX_EXAMPLE_LENGTH]
    return short[:_MAX_EXAMPLES]
