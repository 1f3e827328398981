"""Workloads of the kernel benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def unit_vectors(rng: np.random.Generator, count: int, dim: int) -> Floats:
    """Return random unit vectors, float32 (count, dim)."""
    vectors = rng.standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


@dataclass(frozen=True)
class Workload:
    """Queries of one length, and documents.

    Attributes:
        name: name in the results.
        queries: float32 (queries, query tokens, dim), unit rows.
        documents: float32 (tokens, dim), unit rows, end to end.
        offsets: int64 (documents + 1,).
    """

    name: str
    queries: Floats
    documents: Floats
    offsets: NDArray[np.int64]

    @property
    def pairs(self) -> int:
        """Number of scores of one run."""
        return len(self.queries) * (len(self.offsets) - 1)

    @property
    def gigaflop(self) -> float:
        """Multiplications and additions of one run, in billions."""
        return 2e-9 * self.queries.size * len(self.documents)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each document."""
        return np.diff(self.offsets)

    @cached_property
    def document_vectors(self) -> list[Floats]:
        """Token vectors of each document."""
        return [self.documents[a:b] for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]

    @cached_property
    def reference_scores(self) -> NDArray[np.float64]:
        """Scores computed in float64, (queries, documents)."""
        query_tokens = self.queries.reshape(-1, self.queries.shape[2]).astype(np.float64)
        token_scores = [(query_tokens @ vectors.astype(np.float64).T).max(axis=1) for vectors in self.document_vectors]
        stacked = np.stack(token_scores, axis=1)
        scores: NDArray[np.float64] = stacked.reshape(len(self.queries), -1, stacked.shape[1]).sum(axis=1)
        return scores


def workloads(dim: int, query_tokens: int = 32, seed: int = 0) -> list[Workload]:
    """Return the standard workloads of one dimension: hot, a, b, c and d."""
    rng = np.random.default_rng(seed)

    def build(name: str, queries: int, lengths: NDArray[np.int64]) -> Workload:
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        flat = unit_vectors(rng, queries * query_tokens, dim)
        return Workload(name, flat.reshape(queries, -1, dim), unit_vectors(rng, int(offsets[-1]), dim), offsets)

    return [
        build("hot: 40 x 180", 1, np.full(40, 180)),
        build("a: 1,000 x 180", 1, np.full(1000, 180)),
        build("b: 10,000 x 20-300", 1, rng.integers(20, 301, 10_000)),
        build("c: 50 x 4,000", 1, np.full(50, 4000)),
        build("d: 32 queries, 100 x 180", 32, np.full(100, 180)),
    ]
