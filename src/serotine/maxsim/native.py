"""Calls into the compiled core with validated arguments; non-finite input raises ValueError."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.wording import worded

if TYPE_CHECKING:
    from serotine.maxsim.contract import Ints, Tokens

Floats = NDArray[np.float32]
Winners = NDArray[np.int32]


def _raise_nonfinite(nonfinite: tuple[int, int], queries: str, documents: str, allow_nonfinite: bool) -> None:
    if allow_nonfinite or nonfinite == (-1, -1):
        return
    name, number = (queries, nonfinite[0]) if nonfinite[0] >= 0 else (documents, nonfinite[1])
    fix = worded("clean it, or pass allow_nonfinite=True (NaN then never wins)", http="clean it")
    raise ValueError(
        f"{name}: number {number} contains NaN, infinity or values whose dot product overflows float32; {fix}"
    )


def grid(
    queries: Tokens, documents: Tokens, *, winner_width: int = 0, allow_nonfinite: bool = False
) -> tuple[Floats, Winners]:
    """Score every query with every document.

    Returns:
        Scores float32 (queries, documents) and the winning tokens int32 (queries, documents, winner_width); none
        are computed where `winner_width` is 0.
    """
    shape = (queries.begin.size, documents.begin.size)
    scores = np.empty(shape, dtype=np.float32)
    winners = np.empty((*shape, winner_width), dtype=np.int32)
    nonfinite = _core.score_grid(
        queries.data, queries.dtype, queries.scales, queries.begin, queries.end,
        documents.data, documents.dtype, documents.scales, documents.begin, documents.end,
        scores, winners if winner_width else None,
    )  # fmt: skip
    _raise_nonfinite(nonfinite, queries.name, documents.name, allow_nonfinite)
    return scores, winners


def pairs(
    queries: Tokens,
    documents: Tokens,
    pair_queries: Ints,
    pair_documents: Ints,
    *,
    winner_width: int = 0,
    allow_nonfinite: bool = False,
) -> tuple[Floats, Winners]:
    """Score chosen pairs: scores float32 (pairs,) and winners int32 (pairs, winner_width)."""
    scores = np.empty(pair_queries.size, dtype=np.float32)
    winners = np.empty((pair_queries.size, winner_width), dtype=np.int32)
    nonfinite = _core.score_pairs(
        queries.data, queries.dtype, queries.scales, queries.begin, queries.end,
        documents.data, documents.dtype, documents.scales, documents.begin, documents.end,
        pair_queries, pair_documents, scores, winners if winner_width else None,
    )  # fmt: skip
    _raise_nonfinite(nonfinite, queries.name, documents.name, allow_nonfinite)
    return scores, winners


def separate(
    queries: Tokens,
    documents: list[NDArray[np.generic]],
    dtype: int,
    scales: list[Floats] | None,
    *,
    allow_nonfinite: bool = False,
) -> Floats:
    """Score every query with documents that are separate matrices, read in place: scores (queries, documents)."""
    scores = np.empty((queries.begin.size, len(documents)), dtype=np.float32)
    nonfinite = _core.score_separate(
        queries.data,
        queries.dtype,
        queries.scales,
        queries.begin,
        queries.end,
        documents,
        dtype,
        scales,
        scores,
    )
    _raise_nonfinite(nonfinite, queries.name, "documents", allow_nonfinite)
    return scores


def top_k(
    queries: Tokens,
    documents: Tokens,
    keep: NDArray[np.uint8] | None,
    k: int,
    *,
    allow_nonfinite: bool = False,
) -> tuple[Floats, Ints]:
    """Return the k best documents of every query: scores float32 (queries, k), numbers int64 (queries, k)."""
    scores = np.empty((queries.begin.size, k), dtype=np.float32)
    numbers = np.empty((queries.begin.size, k), dtype=np.int64)
    nonfinite = _core.top_k(
        queries.data, queries.dtype, queries.scales, queries.begin, queries.end,
        documents.data, documents.dtype, documents.scales, documents.begin, documents.end,
        keep, scores, numbers,
    )  # fmt: skip
    _raise_nonfinite(nonfinite, queries.name, documents.name, allow_nonfinite)
    return scores, numbers


def xtr(queries: Tokens, documents: Tokens, k_token: int, *, impute: bool) -> Floats:
    """Return the XTR scores of every query with every document: float32 (queries, documents)."""
    scores = np.empty((queries.begin.size, documents.begin.size), dtype=np.float32)
    nonfinite = _core.xtr_grid(
        queries.data, queries.dtype, queries.scales, queries.begin, queries.end,
        documents.data, documents.dtype, documents.scales, documents.begin, documents.end,
        k_token, impute, scores,
    )  # fmt: skip
    _raise_nonfinite(nonfinite, queries.name, documents.name, False)
    return scores
