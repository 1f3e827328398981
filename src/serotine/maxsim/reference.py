"""MaxSim in plain NumPy: slow, obvious, and the truth every kernel is compared with.

See `serotine.maxsim` for the contract. Everything here works on one query and one document at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def similarities(query: ArrayLike, document: ArrayLike, dtype: type = np.float64) -> NDArray[np.floating]:
    """Dot product of every query token with every document token.

    Args:
        query: shape (query tokens, dim).
        document: shape (document tokens, dim).
        dtype: the floating type to compute in; float64 unless told.

    Returns:
        Shape (query tokens, document tokens).
    """
    return np.asarray(query).astype(dtype) @ np.asarray(document).astype(dtype).T


def score(query: ArrayLike, document: ArrayLike) -> float:
    """MaxSim of one query with one document, in float64: sum over query tokens of the best dot product.

    A document with no tokens scores -inf, a query with no tokens scores 0. A NaN dot product never wins.
    """
    table = similarities(query, document)
    if table.shape[0] == 0:
        return 0.0
    if table.shape[1] == 0:
        return float("-inf")
    return float(np.where(np.isnan(table), -np.inf, table).max(axis=1).sum())


def argmax(query: ArrayLike, document: ArrayLike) -> NDArray[np.int32]:
    """The document token that wins for each query token; the lowest on a tie, -1 where nothing can win."""
    table = similarities(query, document)
    if table.shape[1] == 0:
        return np.full(table.shape[0], -1, dtype=np.int32)
    table = np.where(np.isnan(table), -np.inf, table)
    return np.where(table.max(axis=1) == -np.inf, -1, table.argmax(axis=1)).astype(np.int32)
