"""The indexes that are served, by name, and what their documents' metadata look like."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serotine.errors import NotAnIndexError, SerotineError, UnknownIdError
from serotine.index import Index
from serotine.serving.renewal import Retired, Stamp, stamp_of

_SUFFIX = ".serotine"
# Seconds after which no call is still using an index that was replaced.
_LONGEST_CALL = 600.0
# Documents that are looked at for the fields and values of a collection, spread over it.
_SAMPLE = 200
_MOST_FIELDS = 24
_MOST_EXAMPLES = 5
_LONGEST_EXAMPLE = 40
# By which files that were indexed are cut into passages; they are many, and say nothing as examples.
PLACES = ("start", "end")


@dataclass(frozen=True, slots=True)
class Field:
    """A metadata field: its type's name, whether filters find it through an index, and values it has."""

    name: str
    type: str
    declared: bool
    examples: list[Any]


class Served:
    """Open indexes by the names of their folders, `.serotine` left out; close them by `close`.

    Raises:
        SerotineError: two have the same name; and what `Index.open` raises.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths: dict[str, Path] = {}
        self._indexes: dict[str, tuple[Stamp | None, Index]] = {}
        self._renewing = threading.Lock()
        self._retired = Retired(_LONGEST_CALL)
        try:
            for path in paths:
                name = path.absolute().name.removesuffix(_SUFFIX)
                if name in self._paths:
                    raise SerotineError(f"{path}: another index is named {name!r} already; rename one of the folders")
                self._paths[name] = path
                self._current(name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes every index."""
        for _, index in self._indexes.values():
            index.close()
        self._retired.sweep(all_=True)

    @property
    def names(self) -> list[str]:
        """Names, in the order they were given."""
        return list(self._paths)

    def chosen(self, name: str | None) -> dict[str, Index]:
        """The index of that name, or all of them that are still there."""
        if name is not None:
            plain = name.removesuffix(_SUFFIX)
            if plain not in self._paths:
                raise SerotineError(f"index: {name!r} is not served; there is {', '.join(map(repr, self.names))}")
            return {plain: self._current(plain)}
        found = {}
        gone: NotAnIndexError | None = None
        for each in self._paths:
            try:
                found[each] = self._current(each)
            except NotAnIndexError as error:
                gone = error
        if gone is not None and not found:
            raise gone
        return found

    def _current(self, name: str) -> Index:
        """The index as it is on disk: opened anew where it was replaced.

        Raises:
            NotAnIndexError: it was removed.
        """
        with self._renewing:
            self._retired.sweep()
            # Before it is opened: replaced in between, it is opened once more.
            stamp = stamp_of(self._paths[name])
            if name in self._indexes:
                known, index = self._indexes[name]
                if stamp is not None and stamp == known:
                    return index
                del self._indexes[name]
                self._retired.put(index.close)
            index = Index.open(self._paths[name], read_only=True)
            self._indexes[name] = stamp, index
            return index

    def holding(self, id_: str, name: str | None) -> tuple[str, Index]:
        """The one index that holds a document."""
        chosen = self.chosen(name)
        holders = [(each, index) for each, index in chosen.items() if id_ in index]
        if not holders:
            where = f"index {next(iter(chosen))!r}" if len(chosen) == 1 else "any index"
            raise UnknownIdError(f"id: {id_!r} is not in {where}; use an id as search writes it")
        if len(holders) > 1:
            names = ", ".join(repr(each) for each, _ in holders)
            raise SerotineError(f"id: {id_!r} is in several indexes; say which with index, one of {names}")
        return holders[0]


def fields(index: Index) -> list[Field]:
    """The metadata fields of an index: the declared ones, and those seen in a sample of its documents."""
    declared = index.stats().filterable
    ids = index.ids()
    step = max(len(ids) // _SAMPLE, 1)
    seen: dict[str, Counter[Any]] = {name: Counter() for name in declared}
    kinds: dict[str, str] = dict(declared)
    for hit in _documents(index, ids[::step][:_SAMPLE]):
        for name, value in hit.items():
            plain = value if isinstance(value, list) else [value]
            shown = [each for each in plain if isinstance(each, str | int | float | bool)]
            if name not in seen:
                seen[name] = Counter()
                kinds[name] = type(value).__name__
            # Keyed by kind too: True and 1 are equal, and different values.
            seen[name].update((type(each).__name__, each) for each in shown)
    return [
        Field(name, kinds[name], name in declared, [] if name in PLACES else _examples(values))
        for name, values in list(seen.items())[:_MOST_FIELDS]
    ]


def _documents(index: Index, ids: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for id_ in ids:
        try:
            found.append(index.get([id_])[0].metadata)
        except UnknownIdError:
            # Deleted since by another process.
            continue
    return found


def _examples(values: Counter[Any]) -> list[Any]:
    """The commonest values; long texts are nothing one filters on."""
    short = [value for (_, value), _ in values.most_common() if len(str(value)) <= _LONGEST_EXAMPLE]
    return short[:_MOST_EXAMPLES]
