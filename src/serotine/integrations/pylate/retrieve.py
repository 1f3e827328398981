"""`retrieve`: PyLate's retrievers, over any of the `indexes`."""

from __future__ import annotations

from typing import Any

from serotine.errors import invalid, wrong_type
from serotine.integrations.pylate.embeddings import as_arrays
from serotine.integrations.pylate.ignored_parameters import IgnoredParameters, warn_ignored
from serotine.integrations.pylate.indexes.engine import EngineIndex, Id
from serotine.integrations.pylate.indexes.token_hits import TokenIndex
from serotine.integrations.pylate.rank import RerankResult, score_xtr

__all__ = ["XTR", "ColBERT"]

_IGNORED: IgnoredParameters = {
    "k_token": (100, "candidates are documents, not tokens"),
    "device": (None, "the index runs on the CPU"),
    "batch_size": (50, "queries are distributed over threads"),
}
_IGNORED_BY_XTR: IgnoredParameters = {
    "k_token": (None, "the index returns documents"),
    "device": (None, "the index runs on the CPU"),
    "batch_size": (None, "queries are distributed over threads"),
}


class _Retriever:
    """What searches one of the `indexes`."""

    def __init__(self, index: EngineIndex) -> None:
        if not isinstance(index, EngineIndex):
            raise wrong_type("index", "an indexes.PLAID or another of the indexes", index)
        self.index = index


class ColBERT(_Retriever):
    """Retrieval of documents by exact MaxSim.

    Args:
        index: an `indexes.PLAID`, or another of the `indexes`.
    """

    def retrieve(
        self,
        queries_embeddings: Any,
        k: int = 10,
        k_token: int | None = 100,
        device: str | None = None,
        batch_size: int | None = 50,
        subset: list[list[Id]] | list[Id] | None = None,
    ) -> list[list[RerankResult]]:
        """Return the k best documents of every query, as `indexes.PLAID` does.

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
        return self.index.best_documents(queries_embeddings, k=k, subset=subset)


class XTR(_Retriever):
    """Retrieval by the best tokens only, with imputed similarities (Lee et al. 2023, arXiv 2304.01982).

    Args:
        index: an `indexes.ScaNN` or `indexes.Voyager`. The others return documents: over them, `retrieve` is that of
            `ColBERT`, as in PyLate.
    """

    def retrieve(
        self,
        queries_embeddings: Any,
        k: int = 10,
        k_token: int | None = None,
        device: str | None = None,
        batch_size: int | None = None,
        subset: list[list[Id]] | list[Id] | None = None,
    ) -> list[list[RerankResult]]:
        """Return the k best documents of every query, by `rank.score_xtr` of the tokens it retrieves.

        Args:
            queries_embeddings: a list of (tokens, dim), an array or tensor (queries, tokens, dim), or one query's.
            k: how many; fewer where the retrieved tokens are of fewer documents.
            k_token: tokens that every query token retrieves; 10,000 unless given, or `k` where that is more.
            device: without effect.
            batch_size: queries compared with the stored tokens at once; 16 unless given.
            subset: over an index that returns documents, ids to search among; not for tokens.

        Returns:
            One list a query of ``{"id", "score"}``, best first.

        Raises:
            NotImplementedError: `subset` over an index that returns tokens.
            ValueError: the index is empty, `k_token` is less than `k`, or a query has another dimension.
        """
        ignored: dict[str, object] = {"device": None if device == "cpu" else device}
        index = self.index
        if not isinstance(index, TokenIndex):
            ignored |= {"k_token": k_token, "batch_size": batch_size}
            warn_ignored("retrieve.XTR", _IGNORED_BY_XTR, ignored, stacklevel=2)
            return index.best_documents(queries_embeddings, k=k, subset=subset)
        warn_ignored("retrieve.XTR", _IGNORED_BY_XTR, ignored, stacklevel=2)
        if subset is not None:
            # Programs may match PyLate's words.
            raise NotImplementedError("subset: Subset filtering is not implemented for XTR; use retrieve.ColBERT")
        if k_token is None:
            k_token = max(10_000, k)
        elif k_token < k:
            raise invalid("k_token", f"at least k ({k})", k_token)
        queries = as_arrays(queries_embeddings, "queries_embeddings")
        step = 16 if batch_size is None else batch_size
        if step < 1:
            raise invalid("batch_size", "at least 1", step)
        return [
            score_xtr(hits.ids, hits.similarities, k)
            for start in range(0, len(queries), step)
            for hits in index.token_hits(queries[start : start + step], k_token)
        ]
