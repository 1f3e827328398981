"""MaxSim in plain NumPy, one query and one document at a time: slow, simple, and the reference for every kernel.

See `serotine.maxsim` for the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
