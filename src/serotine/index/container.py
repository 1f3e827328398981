"""An index as a container of documents: by id and in order, without a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from serotine.errors import UnknownIdError, not_one_of, shown_id, wrong_type
from serotine.index.filter_checks import FilterChecks, StoredFields
from serotine.index.hits import Hit
from serotine.index.store import Row, Store
from serotine.index.whole_documents import ordered_passages, whole_document
from serotine.texts import is_text, strings

Missing = Literal["error", "none"]


class DocumentContainer:
    """The reads of `Index` that need no query.

    Args:
        store: the index.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._filter_checks = FilterChecks(StoredFields(store))

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

        The id of a document that was split, or the name of a file, means all its passages: the hit has its whole text,
        and the metadata that they share.

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
                    raise unknown_id(id_)
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

        Where vectors are not stored, they are rebuilt from the codes. The id of a document that was split means all its
        passages: their vectors follow each other, in the order of its text.

        Raises:
            UnknownIdError: `id_` is not in the index.
        """
        _, vectors = stored_passages(self._store, id_)
        if len(vectors) == 1:
            return vectors[0]
        joined = np.concatenate(vectors)
        joined.flags.writeable = False
        return joined


def _rows(store: Store, ids: Sequence[str]) -> list[tuple[str, Row | None]]:
    """Return every id with its live document, split ones put together, or with None."""
    stored = _stored(store, ids)
    return [(id_, _whole(id_, stored[id_]) if id_ in stored else None) for id_ in ids]


def _whole(id_: str, rows: Sequence[Row]) -> Row:
    return rows[0] if rows[0].id == id_ else whole_document(id_, rows)


def _stored(store: Store, ids: Sequence[str]) -> dict[str, list[Row]]:
    """Return the row of every live document by its id, or its passages in order where it was split."""
    catalog = store.catalog
    with catalog.reading():
        numbers = catalog.live_ids(ids)
        passages = catalog.passages([id_ for id_ in ids if id_ not in numbers])
        rows = catalog.rows([*numbers.values(), *(number for by_id in passages.values() for number in by_id.values())])
    found = {id_: [rows[number]] for id_, number in numbers.items()}
    for id_, by_id in passages.items():
        found[id_] = ordered_passages(id_, [rows[number] for number in by_id.values()])
    return found


def stored_passages(store: Store, id_: str) -> tuple[list[Row], list[NDArray[np.float16]]]:
    """Return the catalog's row and the vectors of a document, or of its passages in order where it was split.

    Raises:
        UnknownIdError: `id_` is not in the index.
    """
    if not isinstance(id_, str):
        raise wrong_type("id", "a string", id_)
    while True:
        rows = _stored(store, strings([id_], "ids")).get(id_)
        if rows is None:
            raise unknown_id(id_)
        snapshot = store.snapshot()
        located = [snapshot.locate(row.number) for row in rows]
        vectors = [segment.document(position) for segment, position in filter(None, located)]
        if len(vectors) == len(rows):
            return rows, vectors
        # Replaced by another process in between: it has another number now, or is deleted.


def check_missing(value: object) -> None:
    """Raise ValueError for anything but the two choices of `DocumentContainer.get`."""
    if value not in get_args(Missing):
        raise not_one_of("missing", get_args(Missing), value)


def unknown_id(id_: str) -> UnknownIdError:
    """Return the error for an id that is not in the index."""
    return UnknownIdError(f"ids: {shown_id(id_)} is not in the index")


def _hit(row: Row) -> Hit:
    return Hit(row.id, float("nan"), row.text, row.metadata)
