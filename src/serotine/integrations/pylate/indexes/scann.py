"""`indexes.ScaNN`: the class of PyLate whose searches return tokens and their dot products."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from serotine.integrations.pylate.embeddings import dtype_name, listed
from serotine.integrations.pylate.ignored_parameters import IgnoredParameters, warn_ignored
from serotine.integrations.pylate.indexes.engine import SAME_INDEX, Id, StoredVectors
from serotine.integrations.pylate.indexes.token_hits import TokenIndex, stored_documents

__all__ = ["ScaNN"]

_TREE = "there is no tree"
_IGNORED: IgnoredParameters = {
    "embedding_size": (128, "the first documents give the dimension"),
    "num_neighbors": (10, "each call has its k"),
    "num_leaves": (None, _TREE),
    "num_leaves_to_search": (None, _TREE),
    "dimensions_per_block": (2, _TREE),
    "anisotropic_quantization_threshold": (0.2, _TREE),
    "training_sample_size": (None, _TREE),
    "use_autopilot": (False, _TREE),
}
_IGNORED_WHEN_ADDING: IgnoredParameters = {"batch_size": (128, "documents are added in one transaction")}
_VERBOSE_LEVELS = ("none", "init", "all")


class ScaNN(TokenIndex):
    """The index of `PLAID`, whose calls return the tokens most similar to each query token, exactly.

    Documents may be added in several calls, and removed.

    Args:
        index_name: with `index_folder`, the index is the folder ``index_folder/index_name``.
        verbose: True, "init" or "all": draw a bar on standard error while documents are added.
        store_embeddings: whether `get_documents_embeddings` returns them.
        index_folder: without it, the index is in a temporary folder, which is deleted with this object.
        override: delete an existing index first.
        verbose_level: "none", "init" or "all", instead of `verbose`.
        embedding_size, num_neighbors, num_leaves, num_leaves_to_search, dimensions_per_block,
            anisotropic_quantization_threshold, training_sample_size, use_autopilot: without effect.

    Raises:
        ValueError: an unknown `verbose` or `verbose_level`.
        IndexExistsError: the folder holds something other than a Serotine index.

    Warns:
        IgnoredParameterWarning: always; it names the parameters without effect that differ from PyLate's defaults.
    """

    _cosine = False

    def __init__(
        self,
        index_name: str | None = "ScaNN_index",
        embedding_size: int = 128,
        num_neighbors: int | None = 10,
        num_leaves: int | None = None,
        num_leaves_to_search: int | None = None,
        dimensions_per_block: int | None = 2,
        anisotropic_quantization_threshold: float | None = 0.2,
        training_sample_size: int | None = None,
        verbose: bool | str = "none",
        use_autopilot: bool = False,
        store_embeddings: bool = True,
        index_folder: str | None = None,
        override: bool = False,
        verbose_level: str | None = None,
    ) -> None:
        ignored = {name: value for name, value in locals().items() if name in _IGNORED}
        warn_ignored("indexes.ScaNN", _IGNORED, ignored, stacklevel=2, note=SAME_INDEX)
        if verbose_level is None:
            verbose_level = ("init" if verbose else "none") if isinstance(verbose, bool) else verbose
        if verbose_level not in _VERBOSE_LEVELS:
            # Programs may match PyLate's words.
            raise ValueError(f"verbose: Invalid verbosity level, got {verbose_level!r}; pass one of none, init, all")
        self.verbose_level = verbose_level
        self.verbose = verbose_level != "none"
        self.store_embeddings = store_embeddings
        if index_folder is None or index_name is None:
            path = Path(tempfile.mkdtemp(prefix="serotine-scann-"))
            weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        else:
            path = Path(index_folder) / index_name
        super().__init__(path, override=override, show_progress=self.verbose)

    def add_documents(self, documents_ids: Id | Iterable[Id], documents_embeddings: Any, batch_size: int = 128) -> Self:
        """Add documents, as `PLAID.add_documents`; `batch_size` has no effect.

        Raises:
            TypeError, ValueError: what `PLAID.add_documents` raises, or vectors of several dtypes.
        """
        warn_ignored("indexes.ScaNN.add_documents", _IGNORED_WHEN_ADDING, {"batch_size": batch_size}, stacklevel=2)
        embeddings = listed(documents_embeddings)
        dtypes = sorted({name for name in map(dtype_name, embeddings) if name is not None})
        if len(dtypes) > 1:
            raise ValueError(f"documents_embeddings: must have the same dtype, got {' and '.join(dtypes)}")
        return super().add_documents(documents_ids, embeddings)

    @property
    def flattened_embeddings(self) -> StoredVectors | None:
        """The vectors of all documents, (tokens, dim), in the order they were added; None where there are none.

        A copy of what the index stores now, float32 unless all documents were added as float16. It takes memory for all
        vectors: for small collections. None with ``store_embeddings=False``.
        """
        rows: list[Any] = [vectors for _, vectors in self._stored()] if self.store_embeddings else []
        return np.concatenate(rows) if rows else None

    @property
    def doc_id_to_embedding_range(self) -> dict[Id, tuple[int, int]]:
        """The first row and the number of rows of every document in `flattened_embeddings`, by its id."""
        ids, counts = [], []
        for id_, vectors in self._stored():
            ids.append(id_)
            counts.append(len(vectors))
        return dict(zip(ids, zip(itertools.accumulate(counts, initial=0), counts, strict=False), strict=True))

    @property
    def _documents_added(self) -> bool:
        """`is_indexed`, by the name that PyLate's tests read."""
        return self.is_indexed

    def __call__(self, queries_embeddings: Any, k: int = 10) -> dict[str, list[Any]]:
        """Return the `k` most similar tokens of every query token, as `token_hits`.

        Returns:
            "documents_ids": for every query and query token the tokens' documents, object (k,), best first.
            "distances": likewise, float32 (k,), the dot products.
        """
        hits = self.token_hits(queries_embeddings, k)
        return {"documents_ids": [query.ids for query in hits], "distances": [query.similarities for query in hits]}

    def get_documents_embeddings(self, documents_ids: Sequence[Sequence[Id]]) -> list[list[StoredVectors]]:
        """Return the stored vectors, as `PLAID.get_documents_embeddings`.

        Raises:
            NotImplementedError: with ``store_embeddings=False``.
            ValueError: an id is not in the index.
        """
        if not self.store_embeddings:
            raise NotImplementedError("get_documents_embeddings: needs an index opened with store_embeddings=True")
        index = self._open()
        for id_ in itertools.chain.from_iterable(documents_ids):
            if str(id_) not in index:
                raise ValueError(f"documents_ids: {id_!r} not found in index")
        return super().get_documents_embeddings(documents_ids)

    def _stored(self) -> Iterator[tuple[Id, StoredVectors]]:
        return stored_documents(self._open()) if self.is_indexed else iter(())
