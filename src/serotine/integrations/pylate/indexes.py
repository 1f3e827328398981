"""`indexes.PLAID`: PyLate's index class over a `serotine.Index`.

The index is the folder ``index_folder/index_name``, which `serotine.Index.open` and the command line read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import SerotineError
from serotine.index import Index
from serotine.integrations.pylate import plaid_parameters
from serotine.integrations.pylate.arrays import as_arrays
from serotine.integrations.pylate.ignored import explain_ignored
from serotine.integrations.pylate.plaid_folder import is_index, make_way
from serotine.integrations.pylate.rank import RerankResult

__all__ = ["PLAID"]

Id = str | int


class PLAID:
    """An index of token vectors, by PyLate's signature.

    It is made by the first `add_documents`, which tells the dimension. Ids are strings or ints and come back as what
    they were. Every change is on disk when its call returns; any number of objects and processes may read meanwhile.

    Args:
        index_folder, index_name: the index is the folder ``index_folder/index_name``.
        override: begin anew: an index that stands there is deleted.
        nbits: bits a dimension of the codes: 2, 4 or 8.
        n_full_scores: how many documents are scored over their codes; what the collection needs unless given.
        show_progress: draw a bar on standard error while documents are added.
        use_fast, kmeans_niters, max_points_per_centroid, n_samples_kmeans, seed, use_triton, n_ivf_probe, batch_size,
            num_threads, device, low_memory: without effect.
        kwargs: the Stanford backend's parameters, without effect.

    Raises:
        TypeError: a parameter that PyLate does not have.
        ValueError: `nbits` is not 2, 4 or 8.
        IndexExistsError: something other than an index of ours stands there.

    Warns:
        IgnoredParameterWarning: a parameter without effect was given another value than PyLate's default.
    """

    is_end_to_end_index = True

    def __init__(
        self,
        index_folder: str | Path = "indexes",
        index_name: str = "colbert",
        override: bool = False,
        use_fast: bool = True,
        nbits: int = 4,
        kmeans_niters: int = 4,
        max_points_per_centroid: int = 256,
        n_samples_kmeans: int | None = None,
        seed: int = 42,
        use_triton: bool | None = None,
        n_ivf_probe: int = 8,
        n_full_scores: int = plaid_parameters.FULL_SCORES,
        batch_size: int = 1 << 18,
        num_threads: int | None = None,
        show_progress: bool = True,
        device: str | list[str] | None = None,
        low_memory: bool = False,
        **kwargs: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in plaid_parameters.WITHOUT_EFFECT}
        unknown = [name for name in kwargs if name not in plaid_parameters.STANFORD]
        if unknown:
            raise TypeError(f"indexes.PLAID: got an unexpected parameter {unknown[0]!r}")
        stanford = dict.fromkeys(kwargs, (None, "of the Stanford backend"))
        if device == "cpu":
            given["device"] = None
        explain_ignored(
            "indexes.PLAID", {**plaid_parameters.WITHOUT_EFFECT, **stanford}, {**given, **kwargs}, stacklevel=2
        )
        if nbits not in (2, 4, 8):
            raise ValueError(f"nbits: want 2, 4 or 8, got {nbits!r}")
        self._path = Path(index_folder) / index_name
        self._nbits = nbits
        self._candidates = None if n_full_scores == plaid_parameters.FULL_SCORES else n_full_scores
        self._show_progress = show_progress
        self._reader: Index | None = None
        make_way(self._path, override=override)

    @property
    def is_indexed(self) -> bool:
        """Whether documents have been added."""
        return is_index(self._path)

    def close(self) -> None:
        """Lets go of the files; the next call opens them again."""
        # Not there where the constructor failed.
        reader, self._reader = getattr(self, "_reader", None), None
        if reader is not None:
            reader.close()

    __del__ = close

    def add_documents(self, documents_ids: Id | Iterable[Id], documents_embeddings: Any, **kwargs: Any) -> PLAID:
        """Adds documents; an id that is there already gets the new vectors.

        Args:
            documents_ids: one string or int a document.
            documents_embeddings: a list of (tokens, dim) arrays or tensors; one array or tensor for one document.
            kwargs: none is known.

        Returns:
            The index itself.

        Raises:
            TypeError, ValueError: ids and vectors that do not fit each other or the index.
        """
        if kwargs:
            raise TypeError(f"add_documents: got an unexpected parameter {next(iter(kwargs))!r}")
        ids = _listed(documents_ids)
        vectors = as_arrays(documents_embeddings, "documents_embeddings")
        if len(ids) != len(vectors):
            raise ValueError(f"documents_embeddings: got {len(vectors):,} documents for {len(ids):,} ids")
        if not ids:
            return self
        metadata = [{"id": str(id_), "int": not isinstance(id_, str)} for id_ in ids]
        with self._writer(vectors[0].shape[1]) as index:
            index.add(
                [str(id_) for id_ in ids],
                vectors=vectors,
                metadata=metadata,
                upsert=True,
                show_progress=self._show_progress,
            )
        return self

    def update_documents(self, documents_ids: Id | Iterable[Id], documents_embeddings: Any) -> PLAID:
        """Gives documents other vectors; those not in the index are added. As `add_documents`."""
        return self.add_documents(documents_ids, documents_embeddings)

    def remove_documents(self, documents_ids: Id | Iterable[Id]) -> PLAID:
        """Removes documents; ids that the index does not hold are passed over, as PyLate does. Returns the index."""
        with Index.open(self._open().path) as index:
            index.delete([id_ for id_ in dict.fromkeys(map(str, _listed(documents_ids))) if id_ in index])
        return self

    def __call__(
        self, queries_embeddings: Any, k: int = 10, subset: list[list[Id]] | list[Id] | None = None
    ) -> list[list[RerankResult]]:
        """The k best documents of every query.

        Args:
            queries_embeddings: a list of (tokens, dim), an array or tensor (queries, tokens, dim), or one query's.
            k: how many; all there are when there are fewer.
            subset: ids to search among: one list for all queries, or one a query. Ids not in the index find nothing.

        Returns:
            One list a query of ``{"id", "score"}``, best first.

        Raises:
            ValueError: the index is empty, or what `serotine.Index.search` raises.
        """
        index = self._open()
        queries = as_arrays(queries_embeddings, "queries_embeddings")
        if subset is not None and len(subset) and isinstance(subset[0], (list, tuple)):
            if len(subset) != len(queries):
                raise ValueError(f"subset: got {len(subset)} lists for {len(queries)} queries")
            return [self._search(index, [q], k, ids)[0] for q, ids in zip(queries, subset, strict=True)]
        return self._search(index, queries, k, subset)

    def get_documents_embeddings(self, documents_ids: Sequence[Sequence[Id]]) -> list[list[NDArray[np.float16]]]:
        """The stored vectors, float16 (tokens, dim), of the documents of every list."""
        index = self._open()
        return [[index.vectors(str(id_)) for id_ in ids] for ids in documents_ids]

    def _search(
        self, index: Index, queries: list[NDArray[np.float32]], k: int, subset: Any
    ) -> list[list[RerankResult]]:
        if subset is not None and not len(subset):
            return [[] for _ in queries]
        where = None if subset is None else {"id": {"in": [str(id_) for id_ in subset]}}
        candidates = None if self._candidates is None else max(self._candidates, k)
        found = index.search_batch(queries, k, where=where, candidates=candidates)
        return [
            [{"id": int(hit.id) if hit.metadata["int"] else hit.id, "score": hit.score} for hit in hits]
            for hits in found
        ]

    def _open(self) -> Index:
        if self._reader is None:
            if not self.is_indexed:
                raise ValueError(f"{self._path}: the index is empty; add documents first")
            self._reader = Index.open(self._path, read_only=True)
        return self._reader

    def _writer(self, dim: int) -> Index:
        if self.is_indexed:
            return Index.open(self._path)
        return Index.create(self._path, dim=dim, nbits=self._nbits, filterable={"id": str})


def __getattr__(name: str) -> Any:
    if name in ("Voyager", "ScaNN", "WARP", "Tachiom"):
        raise SerotineError(f"indexes.{name}: there is one index here; use indexes.PLAID")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _listed(ids: Id | Iterable[Id]) -> list[Id]:
    listed = [ids] if isinstance(ids, (str, int)) else list(ids)
    for i, id_ in enumerate(listed):
        if isinstance(id_, bool) or not isinstance(id_, (str, int, np.integer)):
            raise TypeError(f"documents_ids[{i}]: want a string or an int, got {type(id_).__name__}")
    return listed
