"""Documents of an index by id and in order, without a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from serotine.errors import UnknownIdError, not_one_of, wrong_type
from serotine.index.hits import Hit
from serotine.index.store import Row, Store
from serotine.texts import is_text, strings

Missing = Literal["error", "none"]


class Reader:
    """Reads of one store's documents; `Index` documents the methods of the same names.

    Args:
        store: the index.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def contains(self, id_: object) -> bool:
        """Return whether a live document has this id."""
        self._store.require_open()
        return isinstance(id_, str) and is_text(id_) and bool(self._store.catalog.live_ids([id_]))

    def get(self, ids: str | Sequence[str], missing: Missing) -> Hit | list[Hit] | list[Hit | None] | None:
        """Return one document, or a list of them."""
        self._store.require_open()
        if missing not in get_args(Missing):
            raise not_one_of("missing", get_args(Missing), missing)
        rows = self._store.catalog.live_rows([ids] if isinstance(ids, str) else strings(ids, "ids"))
        if missing == "error":
            for id_, row in rows:
                if row is None:
                    raise UnknownIdError(f"ids: {id_!r} is not in the index")
        hits = [None if row is None else _hit(row) for _, row in rows]
        return hits[0] if isinstance(ids, str) else hits

    def row(self, id_: str) -> Row:
        """Return the catalog's row of one document."""
        if not isinstance(id_, str):
            raise wrong_type("id", "a string", id_)
        ((_, row),) = self._store.catalog.live_rows(strings([id_], "ids"))
        if row is None:
            raise UnknownIdError(f"ids: {id_!r} is not in the index")
        return row

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """Return the token vectors of a document."""
        while True:
            location = self._store.snapshot().locate(self.row(id_).number)
            if location is not None:
                segment, position = location
                return segment.document(position)
            # Replaced by another process in between: it has another number now, or is deleted.

    def count(self, where: Mapping[str, Any] | None) -> int:
        """Return the number of documents that pass a filter."""
        self._store.require_open()
        return self._store.snapshot().documents if where is None else self._store.catalog.matching(where).size

    def documents(self, where: Mapping[str, Any] | None) -> Iterator[Hit]:
        """Yield documents in the order they were added."""
        self._store.require_open()
        return (_hit(row) for row in self._store.catalog.scan(where))

    def ids(self, where: Mapping[str, Any] | None) -> Iterator[str]:
        """Yield ids in the order their documents were added."""
        self._store.require_open()
        return self._store.catalog.scan_ids(where)


def _hit(row: Row) -> Hit:
    return Hit(row.id, float("nan"), row.text, row.metadata)
