"""`retrieve.ColBERT`: PyLate's retriever, over `indexes.PLAID`."""

from __future__ import annotations

from typing import Any

from serotine.errors import wrong_type
from serotine.integrations.pylate.ignored_parameters import warn_ignored
from serotine.integrations.pylate.indexes import PLAID, Id
from serotine.integrations.pylate.rank import RerankResult

__all__ = ["ColBERT"]

_IGNORED = {
    "k_token": (100, "candidates are documents, not tokens"),
    "device": (None, "the index runs on the CPU"),
    "batch_size": (50, "queries are distributed over threads"),
}


class ColBERT:
    """Retrieval from an index.

    Args:
        index: an `indexes.PLAID`.
    """

    def __init__(self, index: PLAID) -> None:
        if not isinstance(index, PLAID):
            raise wrong_type("index", "an indexes.PLAID", index)
        self.index = index

    def retrieve(
        self,
        queries_embeddings: Any,
        k: int = 10,
        k_token: int | None = 100,
        device: str | None = None,
        batch_size: int | None = 50,
        subset: list[list[Id]] | list[Id] | None = None,
    ) -> list[list[RerankResult]]:
        """Return the k best documents of every query, as ``index(queries_embeddings, k, subset)``.

        Args:
            queries_embeddings: a list of (tokens, dim), an array or tensor (queries, tokens, dim), or one query's.
            k: how many.
            k_token: without effect.
            device: without effect.
            batch_size: without effect.
            subset: ids to search among: one list for all queries, or one per query.

        Returns:
            One list a query of ``{"id", "score"}``, best first.
        """
        ignored = {
            "k_token": 100 if k_token is None else k_token,
            "device": device,
            "batch_size": 50 if batch_size is None else batch_size,
        }
        warn_ignored("retrieve.ColBERT", _IGNORED, ignored, stacklevel=2)
        return self.index(queries_embeddings, k=k, subset=subset)
