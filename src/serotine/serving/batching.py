"""Dynamic batching: queries that arrive while the encoder is busy are encoded together as soon as it is free."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.issued_warnings import muted_warnings
from serotine.text_encoder import TextEncoder

_BATCH_SIZE = 32
Vectors = NDArray[np.float32]


class _Ticket:
    """One query that waits for its vectors."""

    __slots__ = ("error", "text", "vectors")

    def __init__(self, text: str) -> None:
        self.text = text
        self.vectors: Vectors | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.vectors is not None or self.error is not None


class BatchingEncoder:
    """An encoder for many threads: encodes waiting queries together and caches the newest.

    No thread waits for a batch to fill. The first thread to find the encoder free encodes all waiting queries, its own
    included: a single query is encoded at once, and batches grow with the load.

    Args:
        encoder: the wrapped encoder; any thread may call its `encode_documents` and `tokens`.
        cache_size: queries whose vectors are cached, the newest; 0 for none.
        observe: called with the size of every batch.
    """

    def __init__(self, encoder: TextEncoder, *, cache_size: int, observe: Callable[[int], None]) -> None:
        self._encoder = encoder
        self._observe = observe
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint
        self.options: dict[str, Any] = dict(getattr(encoder, "options", {}))
        self._encoder_lock = threading.Lock()
        self._queue: list[_Ticket] = []
        # Guards the queue and the cache.
        self._lock = threading.Lock()
        self._cache_size = cache_size
        self._cache: OrderedDict[str, Vectors] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the encoder, such as its limit of document tokens."""
        return getattr(self._encoder, name)

    def encode_queries(self, texts: Sequence[str]) -> list[Vectors]:
        """Return one float32 (tokens, dim) array per query; read-only, because others may get the same array."""
        results = {text: self._cached(text) for text in texts}
        tickets = [_Ticket(text) for text, vectors in results.items() if vectors is None]
        with self._lock:
            self._queue += tickets
        while not all(ticket.done for ticket in tickets):
            with self._encoder_lock:
                # Another thread may have encoded these queries meanwhile.
                if not all(ticket.done for ticket in tickets):
                    self._encode_waiting()
        for ticket in tickets:
            if ticket.error is not None:
                raise ticket.error
            results[ticket.text] = ticket.vectors
        return [vectors for text in texts if (vectors := results[text]) is not None]

    def encode_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """Return one float32 (tokens, dim) array per text; queries wait for it only if the encoder itself locks."""
        return self._encoder.encode_documents(texts)

    def tokens(self, text: str, *, query: bool) -> Sequence[Any]:
        """Return the token of every row that encoding `text` gives."""
        return self._encoder.tokens(text, query=query)

    def _encode_waiting(self) -> None:
        with self._lock:
            batch, self._queue = self._queue[:_BATCH_SIZE], self._queue[_BATCH_SIZE:]
        try:
            self._encode(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            # One query that cannot be encoded must not fail the others.
            for ticket in batch:
                try:
                    self._encode([ticket])
                except Exception as single_error:
                    ticket.error = single_error
        self._observe(len(batch))

    def _encode(self, batch: list[_Ticket]) -> None:
        # They are queries of other threads too: each thread warns of its own.
        with muted_warnings():
            encoded = self._encoder.encode_queries([ticket.text for ticket in batch])
        for ticket, vectors in zip(batch, encoded, strict=True):
            vectors.setflags(write=False)
            if self._cache_size:
                with self._lock:
                    self._cache[ticket.text] = vectors
                    while len(self._cache) > self._cache_size:
                        self._cache.popitem(last=False)
            ticket.vectors = vectors

    def _cached(self, text: str) -> Vectors | None:
        with self._lock:
            vectors = self._cache.get(text)
            if vectors is not None:
                self._cache.move_to_end(text)
            return vectors
