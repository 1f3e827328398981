"""`indexes.PLAID`: the class of PyLate whose searches return documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serotine.errors import not_one_of
from serotine.integrations.pylate.ignored_parameters import IgnoredParameters, warn_ignored
from serotine.integrations.pylate.indexes.engine import EngineIndex, Id
from serotine.integrations.pylate.rank import RerankResult

__all__ = ["PLAID"]

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


class PLAID(EngineIndex):
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
        super().__init__(
            Path(index_folder) / index_name,
            override=override,
            nbits=nbits,
            candidates=None if n_full_scores == _FULL_SCORES else n_full_scores,
            show_progress=show_progress,
        )

    def __call__(
        self, queries_embeddings: Any, k: int = 10, subset: list[list[Id]] | list[Id] | None = None
    ) -> list[list[RerankResult]]:
        """Return the k best documents of every query; see `best_documents`."""
        return self.best_documents(queries_embeddings, k, subset)
