"""Late interaction over every document, block by block."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Run
from serotine.evaluation.systems.base import Answer, encoder_for_collection, encoder_record
from serotine.evaluation.systems.ranking import TopK
from serotine.evaluation.vector_cache import Arrays, VectorCache
from serotine.index import encode_documents, encode_queries
from serotine.progress import progress_bar

if TYPE_CHECKING:
    from serotine.index import TextEncoder

# Queries of one length that are scored in one call.
_QUERIES_AT_ONCE = 256


class LateInteraction:
    """An encoder's token vectors, every document scored by MaxSim: exact, in memory of one block.

    Args:
        encoder: text in, token vectors out.
        cache: folder where token vectors are stored; by default they are not.

    >>> from serotine.evaluation import Collection, LateInteraction
    >>> from serotine import Encoder
    >>> toy = Collection("toy", {"a": "owls hunt at night", "b": "bees"}, {"q": "night birds"}, {"q": {"a": 1}})
    >>> next(iter(LateInteraction(Encoder()).answer(toy, depth=2).run["q"]))
    'a'
    """

    def __init__(self, encoder: TextEncoder, cache: Path | None = None) -> None:
        self._encoder = encoder
        self._cache = cache

    @property
    def name(self) -> str:
        """The encoder's."""
        return self._encoder.name

    @property
    def key(self) -> str:
        """The encoder's fingerprint."""
        return f"late {self._encoder.fingerprint}"

    def encoded(self) -> VectorCache:
        """Return the cache of document vectors, float16 (tokens, dim)."""
        return VectorCache(self._cache, self._encode, self.key)

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """As `System.answer`."""
        encoder, dim = self._encoder, self._encoder.dim
        asking = encoder_for_collection(encoder, collection)
        ids, texts = list(collection.documents), list(collection.documents.values())
        asked = [query for query, text in collection.queries.items() if text.strip()]
        started = time.perf_counter()
        queries = encode_queries(asking, [collection.queries[query] for query in asked], dim) if asked else []
        kept = self.encoded()
        best = TopK(len(asked), depth)
        groups = _of_one_length(queries)
        searching = 0.0
        with progress_bar(len(texts), f"{collection.name}: encoding", enabled=show_progress) as advance:
            for start, arrays in kept.blocks(texts, advance):
                began = time.perf_counter()
                if asked:
                    best.add(*_scored(queries, groups, arrays, start, depth))
                searching += time.perf_counter() - began
        run: Run = {query: {} for query in collection.queries} | best.run(asked, ids)
        record = {
            "kind": "late interaction",
            "retrieval": "exact MaxSim over every document's float16 token vectors",
            "exact": True,
            "dtype": "float16",
            "dim": dim,
            **encoder_record(asking),
            "seconds": {"encoding": time.perf_counter() - started - searching, "searching": searching},
            "documents_encoded": kept.encoded,
        }
        return Answer(run, record)

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.float16]]:
        return list(encode_documents(self._encoder, texts, self._encoder.dim, show_progress=False))


def _of_one_length(queries: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
    """Numbers of queries, those of one length together."""
    lengths: dict[int, list[int]] = defaultdict(list)
    for number, query in enumerate(queries):
        lengths[len(query)].append(number)
    return [
        np.array(numbers[start : start + _QUERIES_AT_ONCE], dtype=np.int64)
        for numbers in lengths.values()
        for start in range(0, len(numbers), _QUERIES_AT_ONCE)
    ]


def _scored(
    queries: Sequence[NDArray[np.float32]], groups: list[NDArray[np.int64]], arrays: Arrays, start: int, depth: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The block's best documents of every query: scores and numbers (queries, at most `depth`)."""
    vectors, offsets = arrays["vectors"], arrays["offsets"]
    k = min(depth, len(offsets) - 1)
    scores = np.empty((len(queries), k), dtype=np.float32)
    numbers = np.empty((len(queries), k), dtype=np.int64)
    for group in groups:
        stacked = np.stack([queries[number] for number in group])
        scores[group], numbers[group] = maxsim.top_k(stacked, vectors, offsets, k)
    return scores, numbers + start
