"""`indexes.PLAID`: PyLate's index class over a `serotine.Index`.

The index is the folder ``index_folder/index_name``, which `serotine.Index.open` and the command line read too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexExistsError, SerotineError, not_one_of, wrong_type
from serotine.index import CATALOG_FILE, Index
from serotine.integrations.pylate.embeddings import as_arrays
from serotine.integrations.pylate.ignored_parameters import IgnoredParameters, warn_ignored
from serotine.integrations.pylate.rank import RerankResult
from serotine.lazy_names import no_attribute

__all__ = ["PLAID"]

Id = str | int

_FULL_SCORES = 8192
_IGNORED: IgnoredParameters = {
    "use_fast": (True, "there is one engine"),
    "kmeans_niters": (4, "the codebook is trained until it fits"),
    "max_points_per_centroid": (256, "the codebook's sample follows from the collection"),
    "n_samples_kmeans": (None, "the codebook's sample follows from the collection"),
    "seed": (42, "codebook training is deterministic"),
    "use_triton": (None, "the index runs on the CPU"),
    "n_ivf_probe": (8, "the search plan follows from the collection"),
    "batch_size": (1 << 18, "queries are distributed over threads"),
    "num_threads": (None, "call serotine.maxsim.set_num_threads"),
    "device": (None, "the index runs on the CPU"),
    "low_memory": (False, "the index is memory-mapped"),
}
# PyLate takes these as keywords.
_STANFORD = (
    "embedding_size",
    "nranks",
    "index_bsize",
    "ndocs",
    "centroid_score_threshold",
    "ncells",
    "search_batch_size",
)
# Files that identify an index written by PyLate.
_PYLATE_FILES = ("fast_plaid_index", "documents_ids_to_plaid_ids.pkl", "documents_ids_to_plaid_ids.sqlite")


class PLAID:
    """An index of token vectors with PyLate's signature.

    The first `add_documents` creates it, with the dimension of its vectors. Ids are strings or ints and keep their
    type. Every change is on disk when its call returns; any number of objects and processes may read meanwhile.

    Args:
        index_folder, index_name: the index is the folder ``index_folder/index_name``.
        override: delete an existing index first.
        nbits: bits per dimension of the codes: 2, 4 or 8.
        n_full_scores: how many documents are scored over their codes; chosen for the collection unless given.
        show_progress: draw a bar on standard error while documents are added.
        use_fast, kmeans_niters, max_points_per_centroid, n_samples_kmeans, seed, use_triton, n_ivf_probe, batch_size,
            num_threads, device, low_memory: without effect.
        kwargs: the Stanford backend's parameters, without effect.

    Raises:
        TypeError: a parameter that PyLate does not have.
        ValueError: `nbits` is not 2, 4 or 8.
        IndexExistsError: the folder holds something other than a Serotine index.

    Warns:
        IgnoredParameterWarning: a parameter without effect differs from PyLate's default.
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
        n_full_scores: int = _FULL_SCORES,
        batch_size: int = 1 << 18,
        num_threads: int | None = None,
        show_progress: bool = True,
        device: str | list[str] | None = None,
        low_memory: bool = False,
        **kwargs: Any,
    ) -> None:
        ignored = {name: value for name, value in locals().items() if name in _IGNORED}
        unknown = [name for name in kwargs if name not in _STANFORD]
        if unknown:
            raise TypeError(f"indexes.PLAID: unexpected parameter {unknown[0]!r}")
        stanford = dict.fromkeys(kwargs, (None, "of the Stanford backend"))
        if device == "cpu":
            ignored["device"] = None
        warn_ignored("indexes.PLAID", {**_IGNORED, **stanford}, {**ignored, **kwargs}, stacklevel=2)
        if nbits not in (2, 4, 8):
            raise not_one_of("nbits", (2, 4, 8), nbits)
        self._path = Path(index_folder) / index_name
        self._nbits = nbits
        self._candidates = None if n_full_scores == _FULL_SCORES else n_full_scores
        self._show_progress = show_progress
        self._reader: Index | None = None
        _make_room(self._path, override=override)

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

    def add_documents(self, documents_ids: Id | Iterable[Id], documents_embeddings: Any, **kwargs: Any) -> PLAID:
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
        vectors = as_arrays(documents_embeddings, "documents_embeddings")
        if len(ids) != len(vectors):
            raise ValueError(f"documents_embeddings: must be one per id ({len(ids):,}), got {len(vectors):,}")
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
        """Replace documents' vectors; those not in the index are added, as `add_documents` does."""
        return self.add_documents(documents_ids, documents_embeddings)

    def remove_documents(self, documents_ids: Id | Iterable[Id]) -> PLAID:
        """Remove documents and return the index; unknown ids are ignored, as in PyLate."""
        with Index.open(self._open().path) as index:
            index.delete([id_ for id_ in dict.fromkeys(map(str, _id_list(documents_ids))) if id_ in index])
        return self

    def __call__(
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

    def get_documents_embeddings(self, documents_ids: Sequence[Sequence[Id]]) -> list[list[NDArray[np.float16]]]:
        """Return the stored vectors, float16 (tokens, dim), of the documents of every list."""
        index = self._open()
        return [[index.vectors(str(id_)) for id_ in ids] for ids in documents_ids]

    def _search(
        self, index: Index, queries: list[NDArray[np.float32]], k: int, subset: Any
    ) -> list[list[RerankResult]]:
        if subset is not None and not len(subset):
            return [[] for _ in queries]
        where = None if subset is None else {"id": {"in": [str(id_) for id_ in subset]}}
        candidates = None if self._candidates is None else max(self._candidates, k)
        results = index.search_batch(queries, k, where=where, candidates=candidates)
        return [
            [{"id": int(hit.id) if hit.metadata["int"] else hit.id, "score": hit.score} for hit in hits]
            for hits in results
        ]

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


def __getattr__(name: str) -> Any:
    if name in ("Voyager", "ScaNN", "WARP", "Tachiom"):
        raise SerotineError(f"indexes.{name}: not supported; use indexes.PLAID")
    raise no_attribute(__name__, name, __all__)


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
