"""The best documents of every query, collected block by block, so that one block is in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.evaluation.metrics import Run


class TopK:
    """The `k` best documents so far of each query.

    Blocks must come in the order of their documents: ties go to the earlier one.
    """

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self._scores = np.full((queries, 0), -np.inf, dtype=np.float32)
        self._numbers = np.full((queries, 0), -1, dtype=np.int64)

    def add(self, scores: NDArray[np.float32], numbers: NDArray[np.int64]) -> None:
        """Add the best documents of a block.

        Args:
            scores: float32 (queries, any).
            numbers: positions of the documents, int64 (queries, any); the lower number first on a tie.
        """
        scores = np.concatenate([self._scores, scores], axis=1)
        numbers = np.concatenate([self._numbers, numbers], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._k]
        self._scores = np.take_along_axis(scores, order, axis=1)
        self._numbers = np.take_along_axis(numbers, order, axis=1)

    def run(self, queries: Sequence[str], documents: Sequence[str]) -> Run:
        """Return the run; documents without tokens, which score -inf, are left out."""
        return {
            query: {
                documents[number]: score
                for score, number in zip(scores, numbers, strict=True)
                if number >= 0 and score > -np.inf
            }
            for query, scores, numbers in zip(queries, self._scores.tolist(), self._numbers.tolist(), strict=True)
        }
