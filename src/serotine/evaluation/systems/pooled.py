"""A dense model with the one vector a text that it was trained to make."""

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

if TYPE_CHECKING:
    from serotine.encoders import Encoder


class Pooled:
    """A dense model as it was trained: one vector a text, compared with every document's.

    Args:
        encoder: of a dense checkpoint.
        cache: where encodings are kept; nowhere unless given.

    Raises:
        EncoderError: the encoder has no one vector for a text.
    """

    def __init__(self, encoder: Encoder, cache: Path | None = None) -> None:
        from serotine.encoders import pooling_modes

        pooling_modes(encoder.spec)
        self._encoder = encoder
        self._cache = cache

    @property
    def name(self) -> str:
        """The encoder's, and that its pooled vector is meant."""
        return f"{self._encoder.name} (pooled)"

    @property
    def key(self) -> str:
        """Of the encoder and how it pools."""
        spec = self._encoder.spec
        return f"pooled {self._encoder.fingerprint} {spec.pooled_by} {spec.pooled_similarity}"

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """As `System.answer`."""
        ids, texts = list(collection.documents), list(collection.documents.values())
        asked = [query for query, text in collection.queries.items() if text.strip()]
        started = time.perf_counter()
        queries = self._encoder.encode_pooled([collection.queries[query] for query in asked], query=True)
        best = TopK(len(asked), depth)
        searching = 0.0
        kept = VectorCache(self._cache, self._encode, self.key)
        with progress_bar(len(texts), f"{collection.name}: encoding", enabled=show_progress) as advance:
            for start, arrays in kept.blocks(texts, advance):
                began = time.perf_counter()
                scores: NDArray[np.float32] = queries @ np.asarray(arrays["vectors"], dtype=np.float32).T
                order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
                best.add(np.take_along_axis(scores, order, axis=1), order + start)
                searching += time.perf_counter() - began
        spec = self._encoder.spec
        record = {
            "kind": "dense",
            "retrieval": f"exact {spec.pooled_similarity} of one float32 vector a text",
            "pooling": spec.pooled_by or "mean",
            "exact": True,
            "dtype": "float32",
            "dim": self._encoder.dim,
            **encoder_record(self._encoder),
            "seconds": {"encoding": time.perf_counter() - started - searching, "searching": searching},
            "documents_encoded": kept.encoded,
        }
        return Answer({query: {} for query in collection.queries} | best.run(asked, ids), record)

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return list(self._encoder.encode_pooled(texts, query=False)[:, None])
