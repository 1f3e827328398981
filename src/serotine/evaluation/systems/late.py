"""Exact late interaction with every document, block by block."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.encoders import as_text_encoder
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Run
from serotine.evaluation.systems.base import Answer, encoder_for_collection, encoder_record
from serotine.evaluation.systems.ranking import TopK
from serotine.evaluation.vector_cache import Arrays, VectorCache
from serotine.index import encode_documents, encode_queries
from serotine.progress import progress_bar
from serotine.texts import has_visible

if TYPE_CHECKING:
    from serotine.text_encoder import AnyEncoder

# Queries of the same length that are scored in one call.
_BATCH_SIZE = 256


class LateInteraction:
    """An encoder as a system to evaluate: MaxSim scores of every document, with one block of vectors in memory.

    Args:
        encoder: a late-interaction encoder, or its name for `serotine.Encoder`.
        cache: the folder where token vectors are stored; None stores none.

    >>> from serotine.evaluation import Collection, LateInteraction
    >>> from serotine import Encoder
    >>> toy = Collection("toy", {"a": "owls hunt at night", "b": "bees"}, {"q": "night birds"}, {"q": {"a": 1}})
    >>> next(iter(LateInteraction(Encoder()).answer(toy, depth=2).run["q"]))
    'a'
    """

    def __init__(self, encoder: AnyEncoder, cache: Path | None = None) -> None:
        self._encoder = as_text_encoder(encoder)
        self._cache = cache

    @property
    def name(self) -> str:
        """The name of the encoder."""
        return self._encoder.name

    @property
    def key(self) -> str:
        """The encoder's fingerprint."""
        return f"late {self._encoder.fingerprint}"

    def vector_cache(self) -> VectorCache:
        """Return the cache of document vectors, float16 (tokens, dim)."""
        return VectorCache(self._cache, self._encode, self.key)

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """Score every document for every query; see `System.answer`."""
        encoder, dim = encoder_for_collection(self._encoder, collection), self._encoder.dim
        ids, texts = list(collection.documents), list(collection.documents.values())
        query_ids = [query for query, text in collection.queries.items() if has_visible(text)]
        started = time.perf_counter()
        queries = encode_queries(encoder, [collection.queries[id_] for id_ in query_ids], dim) if query_ids else []
        cache = self.vector_cache()
        best = TopK(len(queries), depth)
        batches = _same_length_batches(queries)
        searching = 0.0
        with progress_bar(len(texts), f"{collection.name}: encoding", enabled=show_progress) as advance:
            for start, arrays in cache.blocks(texts, advance):
                scoring_started = time.perf_counter()
                if query_ids:
                    best.add(*_score_block(queries, batches, arrays, start, depth))
                searching += time.perf_counter() - scoring_started
        run: Run = {query: {} for query in collection.queries} | best.run(query_ids, ids)
        record = {
            "kind": "late interaction",
            "retrieval": "exact MaxSim over every document's float16 token vectors",
            "exact": True,
            "dtype": "float16",
            "dim": dim,
            **encoder_record(encoder),
            "seconds": {"encoding": time.perf_counter() - started - searching, "searching": searching},
            "documents_encoded": cache.encoded,
        }
        return Answer(run, record)

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.float16]]:
        return list(encode_documents(self._encoder, texts, self._encoder.dim, show_progress=False))


def _same_length_batches(queries: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
    """Return the positions of queries in batches of the same length."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for position, query in enumerate(queries):
        by_length[len(query)].append(position)
    return [
        np.array(positions[start : start + _BATCH_SIZE], dtype=np.int64)
        for positions in by_length.values()
        for start in range(0, len(positions), _BATCH_SIZE)
    ]


def _score_block(
    queries: Sequence[NDArray[np.float32]], batches: list[NDArray[np.int64]], arrays: Arrays, start: int, depth: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return scores and positions (queries, at most `depth`) of every query's best documents in a block."""
    vectors, offsets = arrays["vectors"], arrays["offsets"]
    k = min(depth, len(offsets) - 1)
    scores = np.empty((len(queries), k), dtype=np.float32)
    documents = np.empty((len(queries), k), dtype=np.int64)
    for batch in batches:
        stacked = np.stack([queries[position] for position in batch])
        scores[batch], documents[batch] = maxsim.top_k(stacked, vectors, offsets, k)
    return scores, documents + start
