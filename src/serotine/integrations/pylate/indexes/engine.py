"""What all index classes share: a `serotine.Index` in a folder, changed and searched with PyLate's arguments."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexExistsError, wrong_type
from serotine.index import CATALOG_FILE, Hit, Index
from serotine.integrations.pylate.embeddings import as_arrays, dtype_name, listed
from serotine.integrations.pylate.rank import RerankResult

Id = str | int
StoredVectors = NDArray[np.float16] | NDArray[np.float32]

SAME_INDEX = "opens the same index as indexes.PLAID"
# Of one filter, at most; more documents are searched in several steps.
_MAX_VALUES = 10_000
# Files that identify an index written by PyLate.
_PYLATE_FILES = (
    "fast_plaid_index",
    "documents_ids_to_plaid_ids.pkl",
    "documents_ids_to_plaid_ids.sqlite",
    "index.voyager",
    "scann_config.pb",
    "doc_id_to_embedding_range.pkl",
    "documents_ids_to_warp_ids.pkl",
)


class EngineIndex:
    """A `serotine.Index` in a folder.

    Args:
        path: the folder.
        override: delete an existing index first.
        nbits: bits per dimension of the codes of a new index.
        candidates: how many documents are scored over their codes; chosen for the collection unless given.
        show_progress: draw a bar on standard error while documents are added.

    Raises:
        IndexExistsError: the folder holds something other than a Serotine index.
    """

    is_end_to_end_index: bool

    def __init__(
        self, path: Path, *, override: bool, nbits: int = 4, candidates: int | None = None, show_progress: bool = False
    ) -> None:
        self._path = path
        self._nbits = nbits
        self._candidates = candidates
        self._show_progress = show_progress
        self._reader: Index | None = None
        _make_room(path, override=override)

    @property
    def is_indexed(self) -> bool:
        """Whether documents have been added."""
        return _is_index(self._path)

    def close(self) -> None:
        """Close the files; the next call opens them again."""
        # The attribute is missing where the constructor failed.
        reader, self._reader = getattr(self, "_reader", None), None
        if reader is not None:
            reader.close()

    __del__ = close

    def add_documents(self, documents_ids: Id | Iterable[Id], documents_embeddings: Any, **kwargs: Any) -> Self:
        """Add documents; an existing id gets the new vectors.

        Args:
            documents_ids: one string or int a document.
            documents_embeddings: a list of (tokens, dim) arrays or tensors; one array or tensor for one document.
            kwargs: must be empty.

        Returns:
            The index itself.

        Raises:
            TypeError, ValueError: ids and vectors do not match each other or the index.
        """
        if kwargs:
            raise TypeError(f"add_documents: unexpected parameter {next(iter(kwargs))!r}")
        ids = _id_list(documents_ids)
        embeddings = listed(documents_embeddings)
        vectors = as_arrays(embeddings, "documents_embeddings")
        dtypes = _dtypes(embeddings, len(vectors))
        if len(ids) != len(vectors):
            raise ValueError(f"documents_embeddings: must be one per id ({len(ids):,}), got {len(vectors):,}")
        if not ids:
            return self
        metadata = [
            {"id": str(id_), "int": not isinstance(id_, str), "dtype": dtype}
            for id_, dtype in zip(ids, dtypes, strict=True)
        ]
        with self._writer(vectors[0].shape[1]) as index:
            index.add(
                [str(id_) for id_ in ids],
                vectors=vectors,
                metadata=metadata,
                upsert=True,
                show_progress=self._show_progress,
            )
        return self

    def update_documents(self, documents_ids: Id | Iterable[Id], documents_embeddings: Any) -> Self:
        """Replace documents' vectors; those not in the index are added, as `add_documents` does."""
        return self.add_documents(documents_ids, documents_embeddings)

    def remove_documents(self, documents_ids: Id | Iterable[Id]) -> Self:
        """Remove documents and return the index; unknown ids are ignored, as in PyLate."""
        with Index.open(self._open().path) as index:
            index.delete([id_ for id_ in dict.fromkeys(map(str, _id_list(documents_ids))) if id_ in index])
        return self

    def best_documents(
        self, queries_embeddings: Any, k: int = 10, subset: list[list[Id]] | list[Id] | None = None
    ) -> list[list[RerankResult]]:
        """Return the k best documents of every query.

        Args:
            queries_embeddings: a list of (tokens, dim), an array or tensor (queries, tokens, dim), or one query's.
            k: how many; fewer where the index has fewer.
            subset: ids to search among: one list for all queries, or one per query; unknown ids are ignored.

        Returns:
            One list a query of ``{"id", "score"}``, best first.

        Raises:
            ValueError: the index is empty, or what `serotine.Index.search` raises.
        """
        index = self._open()
        queries = as_arrays(queries_embeddings, "queries_embeddings")
        if subset is not None and len(subset) and isinstance(subset[0], (list, tuple)):
            if len(subset) != len(queries):
                raise ValueError(f"subset: must be one list per query ({len(queries)}), got {len(subset)}")
            return [self._search(index, [query], k, ids)[0] for query, ids in zip(queries, subset, strict=True)]
        return self._search(index, queries, k, subset)

    def get_documents_embeddings(self, documents_ids: Sequence[Sequence[Id]]) -> list[list[StoredVectors]]:
        """Return the vectors, (tokens, dim), of the documents of every list.

        They are stored as float16. Those added as float16 are returned so, all others as float32 of the same values.
        """
        index = self._open()
        return [[vectors_as_added(index, index[str(id_)]) for id_ in ids] for ids in documents_ids]

    def _search(
        self, index: Index, queries: list[NDArray[np.float32]], k: int, subset: Any
    ) -> list[list[RerankResult]]:
        if subset is not None and not len(subset):
            return [[] for _ in queries]
        candidates = None if self._candidates is None else max(self._candidates, k)
        searches = [index.search_batch(queries, k, where=where, candidates=candidates) for where in _filters(subset)]
        found = [[hit for hits in of_query for hit in hits] for of_query in zip(*searches, strict=True)]
        if len(searches) > 1:
            found = [sorted(hits, key=lambda hit: -hit.score)[:k] for hits in found]
        return [[{"id": original_id(hit), "score": hit.score} for hit in hits] for hits in found]

    def _open(self) -> Index:
        if self._reader is None:
            if not self.is_indexed:
                raise ValueError(f"{self._path}: the index is empty; call add_documents first")
            self._reader = Index.open(self._path, read_only=True)
        return self._reader

    def _writer(self, dim: int) -> Index:
        if self.is_indexed:
            return Index.open(self._path)
        return Index.create(self._path, dim=dim, nbits=self._nbits, filterable={"id": str})


def _filters(subset: Sequence[Id] | None) -> list[dict[str, Any] | None]:
    """Return filters that together pass the documents of a subset, or every document."""
    if subset is None:
        return [None]
    ids = list(dict.fromkeys(map(str, subset)))
    return [{"id": {"in": ids[start : start + _MAX_VALUES]}} for start in range(0, len(ids), _MAX_VALUES)]


def original_id(document: Hit) -> Id:
    """Return a document's id, of the type it was added with."""
    return int(document.id) if document.metadata["int"] else document.id


def vectors_as_added(index: Index, document: Hit) -> StoredVectors:
    """Return a document's vectors, (tokens, dim), in the dtype they were added with: float16 or float32.

    Raises:
        UnknownIdError: the document was removed meanwhile.
    """
    vectors = index.vectors(document.id)
    # Indexes of earlier versions do not record it.
    return vectors.astype(np.float32) if document.metadata.get("dtype") == "float32" else vectors


def _dtypes(embeddings: Any, count: int) -> list[str]:
    """Return the dtype in which the vectors of each of `count` documents are returned."""
    items = [embeddings] * count if hasattr(embeddings, "dtype") else embeddings
    return ["float16" if dtype_name(item) == "float16" else "float32" for item in items]


def _id_list(documents_ids: Id | Iterable[Id]) -> list[Id]:
    ids = [documents_ids] if isinstance(documents_ids, (str, int)) else list(documents_ids)
    for i, id_ in enumerate(ids):
        if isinstance(id_, bool) or not isinstance(id_, (str, int, np.integer)):
            raise wrong_type(f"documents_ids[{i}]", "a string or an int", id_)
    return ids


def _is_index(folder: Path) -> bool:
    return (folder / CATALOG_FILE).is_file()


def _make_room(folder: Path, *, override: bool) -> None:
    """Delete the index in `folder`, Serotine's or PyLate's, where `override` allows it.

    Raises:
        IndexExistsError: the folder holds something that may not be deleted and is not a Serotine index.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    from_pylate = any((folder / name).exists() for name in _PYLATE_FILES)
    if override and (_is_index(folder) or from_pylate):
        shutil.rmtree(folder)
    elif from_pylate:
        raise IndexExistsError(f"{folder}: holds an index written by PyLate; choose another index_name")
    elif not _is_index(folder):
        raise IndexExistsError(f"{folder}: holds something other than an index; choose another index_name")
