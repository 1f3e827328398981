"""MaxSim in plain NumPy, one query and one document at a time: slow, simple, and the reference for every kernel.

See `serotine.maxsim` for the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def similarities(query: ArrayLike, document: ArrayLike, dtype: type = np.float64) -> NDArray[np.floating]:
    """Return the dot product of every query token with every document token.

    Args:
        query: shape (query tokens, dim).
        document: shape (document tokens, dim).
        dtype: the floating type to compute in.

    Returns:
        Shape (query tokens, document tokens).
    """
    return np.asarray(query).astype(dtype) @ np.asarray(document).astype(dtype).T


def score(query: ArrayLike, document: ArrayLike) -> float:
    """Return MaxSim of one query with one document, in float64.

    A document with no tokens scores -inf, a query with no tokens scores 0. A NaN dot product never wins.
    """
    products = similarities(query, document)
    if products.shape[0] == 0:
        return 0.0
    if products.shape[1] == 0:
        return float("-inf")
    return float(np.where(np.isnan(products), -np.inf, products).max(axis=1).sum())


def argmax(query: ArrayLike, document: ArrayLike) -> NDArray[np.int32]:
    """Return the winning document token of every query token: the lowest on a tie, -1 where none can win."""
    products = similarities(query, document)
    if products.shape[1] == 0:
        return np.full(products.shape[0], -1, dtype=np.int32)
    products = np.where(np.isnan(products), -np.inf, products)
    return np.where(products.max(axis=1) == -np.inf, -1, products.argmax(axis=1)).astype(np.int32)


def xtr(query: ArrayLike, documents: Sequence[ArrayLike], k_token: int, *, impute: bool = False) -> NDArray[np.float64]:
    """Return the XTR scores of one query with all documents (Lee et al. 2023, arXiv 2304.01982), in float64.

    Every query token retrieves its `k_token` most similar tokens among all documents; ties go to the earlier document
    and the lower token. A document's similarity to a query token is that of its best retrieved token.

    Args:
        query: shape (query tokens, dim).
        documents: each of shape (tokens, dim).
        k_token: tokens that every query token retrieves.
        impute: mean over all query tokens, where a missing similarity is that of the last retrieved token, as in a
            search; otherwise over those that retrieved a token of the document, 0 where none did, as in training.
    """
    products = [similarities(query, document) for document in documents]
    owners = np.repeat(np.arange(len(products)), [matrix.shape[1] for matrix in products])
    query_tokens = len(np.asarray(query))
    scores = np.zeros(len(products))
    for number, matrix in enumerate(products):
        if query_tokens and matrix.shape[1] == 0:
            scores[number] = -np.inf
            continue
        counted = []
        for token in range(query_tokens):
            row = np.concatenate([other[token] for other in products])
            order = np.argsort(-row, kind="stable")[:k_token]
            own = row[order[owners[order] == number]]
            if own.size:
                counted.append(own.max())
            elif impute:
                counted.append(row[order[-1]])
        scores[number] = np.mean(counted) if counted else 0.0
    return scores
