"""A dense model with one pooled vector per text."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serotine.evaluation.data.collection import Collection
from serotine.evaluation.systems.base import Answer, encoder_record
from serotine.evaluation.systems.ranking import TopK
from serotine.evaluation.vector_cache import VectorCache
from serotine.progress import progress_bar
from serotine.texts import has_visible

if TYPE_CHECKING:
    from serotine.encoders import Encoder


class Pooled:
    """A dense model as a system to evaluate, with the pooling and prompts it was trained with.

    Args:
        encoder: the encoder of a dense checkpoint.
        cache: the folder where vectors are stored; None stores none.

    Raises:
        EncoderError: the encoder has no pooled vectors.
    """

    def __init__(self, encoder: Encoder, cache: Path | None = None) -> None:
        from serotine.encoders import pooling_modes

        pooling_modes(encoder.spec)
        self._encoder = encoder
        self._cache = cache

    @property
    def name(self) -> str:
        """The name of the encoder, followed by "(pooled)"."""
        return f"{self._encoder.name} (pooled)"

    @property
    def key(self) -> str:
        """The encoder's fingerprint, pooling and similarity."""
        spec = self._encoder.spec
        return f"pooled {self._encoder.fingerprint} {spec.pooled_by} {spec.pooled_similarity}"

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """Score every document for every query; see `System.answer`."""
        ids, texts = list(collection.documents), list(collection.documents.values())
        query_ids = [query for query, text in collection.queries.items() if has_visible(text)]
        started = time.perf_counter()
        queries = self._encoder.encode_pooled([collection.queries[id_] for id_ in query_ids], query=True)
        best = TopK(len(query_ids), depth)
        searching = 0.0
        cache = VectorCache(self._cache, self._encode, self.key)
        with progress_bar(len(texts), f"{collection.name}: encoding", enabled=show_progress) as advance:
            for start, arrays in cache.blocks(texts, advance):
                scoring_started = time.perf_counter()
                scores: NDArray[np.float32] = queries @ np.asarray(arrays["vectors"], dtype=np.float32).T
                order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
                best.add(np.take_along_axis(scores, order, axis=1), order + start)
                searching += time.perf_counter() - scoring_started
        spec = self._encoder.spec
        record = {
            "kind": "dense",
            "retrieval": f"exact {spec.pooled_similarity} of one float32 vector per text",
            "pooling": spec.pooled_by or "mean",
            "exact": True,
            "dtype": "float32",
            "dim": self._encoder.dim,
            **encoder_record(self._encoder),
            "seconds": {"encoding": time.perf_counter() - started - searching, "searching": searching},
            "documents_encoded": cache.encoded,
        }
        return Answer({query: {} for query in collection.queries} | best.run(query_ids, ids), record)

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return list(self._encoder.encode_pooled(texts, query=False)[:, None])
