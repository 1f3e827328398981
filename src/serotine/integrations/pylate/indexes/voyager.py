"""`indexes.Voyager`: the class of PyLate whose searches return tokens and their cosine distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from serotine.integrations.pylate.ignored_parameters import IgnoredParameters, warn_ignored
from serotine.integrations.pylate.indexes.engine import SAME_INDEX, Id, StoredVectors
from serotine.integrations.pylate.indexes.token_hits import TokenIndex

__all__ = ["Voyager"]

_IGNORED: IgnoredParameters = {
    "embedding_size": (128, "the first documents give the dimension"),
    "M": (64, "there is no graph"),
    "ef_construction": (200, "there is no graph"),
    "ef_search": (200, "there is no graph"),
}
_IGNORED_WHEN_ADDING: IgnoredParameters = {"batch_size": (2000, "documents are added in one transaction")}


class Voyager(TokenIndex):
    """The index of `PLAID`, whose calls return the tokens nearest to each query token, exactly.

    Args:
        index_folder, index_name, override: as in `PLAID`.
        embedding_size, M, ef_construction, ef_search: without effect.

    Raises:
        IndexExistsError: the folder holds something other than a Serotine index.

    Warns:
        IgnoredParameterWarning: always; it names the parameters without effect that differ from PyLate's defaults.
    """

    _cosine = True

    def __init__(
        self,
        index_folder: str = "indexes",
        index_name: str = "colbert",
        override: bool = False,
        embedding_size: int = 128,
        M: int = 64,  # noqa: N803
        ef_construction: int = 200,
        ef_search: int = 200,
    ) -> None:
        ignored = {name: value for name, value in locals().items() if name in _IGNORED}
        warn_ignored("indexes.Voyager", _IGNORED, ignored, stacklevel=2, note=SAME_INDEX)
        super().__init__(Path(index_folder) / index_name, override=override)

    def add_documents(
        self, documents_ids: Id | Iterable[Id], documents_embeddings: Any, batch_size: int = 2000
    ) -> Self:
        """Add documents, as `PLAID.add_documents`; `batch_size` has no effect."""
        warn_ignored("indexes.Voyager.add_documents", _IGNORED_WHEN_ADDING, {"batch_size": batch_size}, stacklevel=2)
        return super().add_documents(documents_ids, documents_embeddings)

    def __call__(self, queries_embeddings: Any, k: int = 10) -> dict[str, list[Any]]:
        """Return the `k` nearest tokens of every query token, as `token_hits`.

        Returns:
            "documents_ids": for every query and query token the list of the tokens' documents, nearest first.
            "distances": likewise, float32 (k,), 1 less the cosine.
        """
        hits = self.token_hits(queries_embeddings, k)
        return {
            "documents_ids": [[ids.tolist() for ids in query.ids] for query in hits],
            "distances": [[1 - similarities for similarities in query.similarities] for query in hits],
        }

    def get_documents_embeddings(self, document_ids: Sequence[Sequence[Id]]) -> list[list[StoredVectors]]:
        """Return the stored vectors, as `PLAID.get_documents_embeddings`."""
        return super().get_documents_embeddings(document_ids)
