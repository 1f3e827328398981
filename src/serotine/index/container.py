"""An index as a container of documents: by id and in order, without a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from serotine.errors import UnknownIdError, first_and_count, not_one_of, wrong_type
from serotine.index.filter_checks import FilterChecks
from serotine.index.hits import Hit
from serotine.index.store import Row, Store
from serotine.index.whole_documents import whole_document
from serotine.texts import is_text, strings

Missing = Literal["error", "none"]


class DocumentContainer:
    """The reads of `Index` that need no query.

    Args:
        store: the index.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._filter_checks = FilterChecks(store)

    def __len__(self) -> int:
        return self._store.snapshot().documents

    def __contains__(self, id_: object) -> bool:
        self._store.require_open()
        if not (isinstance(id_, str) and is_text(id_)):
            return False
        catalog = self._store.catalog
        return bool(catalog.live_ids([id_]) or catalog.passages([id_]))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids, in the order they were added, of one committed state; in constant memory."""
        return self._store.catalog.scan_ids(None)

    def __getitem__(self, id_: str) -> Hit:
        """Return a document by id; see `get`.

        Raises:
            UnknownIdError: `id_` is not in the index; it is a KeyError too.
        """
        if not isinstance(id_, str):
            raise wrong_type("id", "a string", id_)
        return self.get(id_)

    def ids(self, *, where: Mapping[str, Any] | None = None) -> list[str]:
        """Return the ids of all documents, or of those that pass a filter, in the order they were added."""
        self._store.require_open()
        self._filter_checks.warn(where)
        return list(self._store.catalog.scan_ids(where))

    @overload
    def get(self, ids: str, *, missing: Literal["error"] = "error") -> Hit: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: str, *, missing: Missing) -> Hit | None: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, ids: Sequence[str], *, missing: Literal["error"] = "error") -> list[Hit]: ...
    @overload
    def get(self, ids: Sequence[str], *, missing: Missing) -> list[Hit | None]: ...
    def get(self, ids: str | Sequence[str], *, missing: Missing = "error") -> Hit | list[Hit] | list[Hit | None] | None:
        """Return documents by id, as hits with score NaN: one for a string, a list in the order of `ids` otherwise.

        The id of a document that was split means all its passages: the hit has its whole text, and the metadata that
        they share.

        Args:
            ids: an id, or several.
            missing: "error" raises for an id that is not in the index, "none" returns None in its place.

        Raises:
            UnknownIdError: an id is not in the index.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     index.add(ids=["apple"], vectors=[np.eye(2)], metadata=[{"color": "red"}])
        ...     index.get("apple").metadata, index.get(["pear", "apple"], missing="none")[0]
        ({'color': 'red'}, None)
        """
        self._store.require_open()
        check_missing(missing)
        rows = _rows(self._store, [ids] if isinstance(ids, str) else strings(ids, "ids"))
        if missing == "error":
            for id_, row in rows:
                if row is None:
                    raise _unknown_id(self._store, id_)
        hits = [None if row is None else _hit(row) for _, row in rows]
        return hits[0] if isinstance(ids, str) else hits

    def documents(self, *, where: Mapping[str, Any] | None = None) -> Iterator[Hit]:
        """Iterate over documents in the order they were added, as hits with score NaN; in constant memory.

        All of them are of one committed state, that of the first: the index may be searched and changed meanwhile, in
        the loop as well. An iteration that is not finished holds disk space that changes free; end it, or close it.

        Args:
            where: filter on metadata, as for `search`.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     index.add(ids=["apple", "pear"], vectors=[np.eye(2)] * 2, metadata=[{"color": "red"}, {}])
        ...     [document.id for document in index.documents(where={"color": None})]
        ['pear']
        """
        self._store.require_open()
        self._filter_checks.warn(where)
        return (_hit(row) for row in self._store.catalog.scan(where))

    def count(self, *, where: Mapping[str, Any] | None = None) -> int:
        """Return the number of documents that pass a filter, as for `search`."""
        self._store.require_open()
        self._filter_checks.warn(where)
        return self._store.snapshot().documents if where is None else self._store.catalog.matching(where).size

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """Return the token vectors of a document, float16 (tokens, dim), read-only.

        Where vectors are not stored, they are rebuilt from the codes.

        Raises:
            UnknownIdError: `id_` is not in the index.
        """
        while True:
            location = self._store.snapshot().locate(live_row(self._store, id_).number)
            if location is not None:
                segment, position = location
                return segment.document(position)
            # Replaced by another process in between: it has another number now, or is deleted.


def _rows(store: Store, ids: Sequence[str]) -> list[tuple[str, Row | None]]:
    """Return every id with its live document, split ones put together, or with None."""
    catalog = store.catalog
    with catalog.reading():
        numbers = catalog.live_ids(ids)
        passages = catalog.passages([id_ for id_ in ids if id_ not in numbers])
        rows = catalog.rows([*numbers.values(), *(number for by_id in passages.values() for number in by_id.values())])
    found = {id_: rows[number] for id_, number in numbers.items()}
    for id_, by_id in passages.items():
        found[id_] = whole_document(id_, [rows[number] for number in by_id.values()])
    return [(id_, found.get(id_)) for id_ in ids]


def check_missing(value: object) -> None:
    """Raise ValueError for anything but the two choices of `DocumentContainer.get`."""
    if value not in get_args(Missing):
        raise not_one_of("missing", get_args(Missing), value)


def live_row(store: Store, id_: str) -> Row:
    """Return the catalog's row of a document.

    Raises:
        UnknownIdError: `id_` is not in the index.
    """
    if not isinstance(id_, str):
        raise wrong_type("id", "a string", id_)
    ((_, row),) = store.catalog.live_rows(strings([id_], "ids"))
    if row is None:
        raise _unknown_id(store, id_)
    return row


def _unknown_id(store: Store, id_: str) -> UnknownIdError:
    passages = list(store.catalog.passages([id_]).get(id_, {}))
    split = f"; it was split into {first_and_count(passages)}" if passages else ""
    return UnknownIdError(f"ids: {id_!r} is not in the index{split}")


def _hit(row: Row) -> Hit:
    return Hit(row.id, float("nan"), row.text, row.metadata)
