"""The tokens most similar to each query token, exactly: every query token is compared with every stored token."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import UnknownIdError, check_count
from serotine.index import Index, query_vectors
from serotine.integrations.pylate.embeddings import as_arrays
from serotine.integrations.pylate.indexes.engine import (
    EngineIndex,
    Id,
    StoredVectors,
    original_id,
    vectors_as_added,
)

# Stored tokens that are compared at once: 8 MiB of float32 at 128 dimensions.
_TOKENS_AT_ONCE = 16_384


@dataclass(frozen=True)
class TokenHits:
    """The tokens that one query's tokens retrieved.

    Attributes:
        ids: for every query token the documents of its tokens, object (hits,).
        similarities: their similarities, float32 (hits,), falling.
    """

    ids: list[NDArray[np.object_]]
    similarities: list[NDArray[np.float32]]


class TokenIndex(EngineIndex):
    """An index whose searches return tokens."""

    is_end_to_end_index = False
    # Whether a similarity is a cosine; a dot product otherwise.
    _cosine: bool

    def token_hits(self, queries_embeddings: Any, k: int) -> list[TokenHits]:
        """Return the `k` most similar stored tokens of every query token.

        Args:
            queries_embeddings: a list of (tokens, dim), an array or tensor (queries, tokens, dim), or one query's.
            k: how many; fewer where the index has fewer. Ties go to the earlier document and the lower token.

        Raises:
            ValueError: the index is empty, `k` is below 1, or a query has another dimension.
        """
        check_count("k", k)
        index = self._open()
        queries = [
            self._scaled(query_vectors(query, index.dim))
            for query in as_arrays(queries_embeddings, "queries_embeddings")
        ]
        if not queries:
            return []
        ids: list[Id] = []
        best = _Best(sum(map(len, queries)), k)
        rows = np.concatenate(queries)
        for documents in _batches(stored_documents(index)):
            numbers = np.repeat(np.arange(len(ids), len(ids) + len(documents)), [len(item[1]) for item in documents])
            ids += [id_ for id_, _ in documents]
            stored = np.concatenate([vectors for _, vectors in documents])
            vectors = self._scaled(stored.astype(np.float32, copy=False))
            best.add(rows @ vectors.T, numbers)
        names = np.empty(len(ids), dtype=object)
        names[:] = ids
        bounds = itertools.pairwise(itertools.accumulate(map(len, queries), initial=0))
        return [
            TokenHits([names[numbers] for numbers in best.numbers[first:last]], best.similarities[first:last])
            for first, last in bounds
        ]

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._cosine:
            return vectors
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, np.where(norms > 0, norms, 1), dtype=np.float32)


class _Best:
    """The best tokens so far of several query tokens.

    Args:
        count: how many query tokens.
        k: tokens kept of each.
    """

    def __init__(self, count: int, k: int) -> None:
        self._k = k
        self.numbers = [np.empty(0, dtype=np.int64)] * count
        self.similarities = [np.empty(0, dtype=np.float32)] * count

    def add(self, rows: NDArray[np.float32], numbers: NDArray[np.int64]) -> None:
        """Add tokens that come after all earlier ones.

        Args:
            rows: the similarities of every query token with them.
            numbers: the documents they are of.
        """
        for token, row in enumerate(rows):
            held = self.similarities[token]
            # Of equal tokens the earlier ones stay.
            better = np.flatnonzero(row > held[-1]) if held.size == self._k else slice(None)
            joined = np.concatenate([held, row[better]])
            order = np.argsort(-joined, kind="stable")[: self._k]
            self.similarities[token] = joined[order]
            self.numbers[token] = np.concatenate([self.numbers[token], numbers[better]])[order]


def stored_documents(index: Index) -> Iterator[tuple[Id, StoredVectors]]:
    """Yield the documents in the order they were added, with their vectors, in the dtype they were added with."""
    for document in index.documents():
        # Another process may have removed it meanwhile.
        with contextlib.suppress(UnknownIdError):
            yield original_id(document), vectors_as_added(index, document)


def _batches(documents: Iterable[tuple[Id, StoredVectors]]) -> Iterator[Sequence[tuple[Id, StoredVectors]]]:
    """Yield documents in groups of about `_TOKENS_AT_ONCE` tokens."""
    batch, tokens = [], 0
    for document in documents:
        batch.append(document)
        tokens += len(document[1])
        if tokens >= _TOKENS_AT_ONCE:
            yield batch
            batch, tokens = [], 0
    if batch:
        yield batch
