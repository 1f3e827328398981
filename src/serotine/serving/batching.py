"""Questions that arrive while the encoder is busy are encoded together as soon as it is free."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.text_encoder import TextEncoder

_MOST_AT_ONCE = 32
Vectors = NDArray[np.float32]


class _Ticket:
    """One question that waits for its vectors."""

    __slots__ = ("error", "text", "vectors")

    def __init__(self, text: str) -> None:
        self.text = text
        self.vectors: Vectors | None = None
        self.error: Exception | None = None

    @property
    def served(self) -> bool:
        return self.vectors is not None or self.error is not None


class BatchingEncoder:
    """An encoder for many threads: questions are encoded together, and the last ones are remembered.

    No thread waits for company: whoever finds the encoder free takes all that wait, its own questions among them, so
    that a question alone is encoded at once, and batches grow with the load.

    Args:
        encoder: the encoder itself; its documents and tokens may be asked for from any thread.
        remembered: questions whose vectors are kept, the newest; 0 for none.
        observe: told the size of every batch.
    """

    def __init__(self, encoder: TextEncoder, *, remembered: int, observe: Callable[[int], None]) -> None:
        self._encoder = encoder
        self._observe = observe
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint
        self.options: dict[str, Any] = dict(getattr(encoder, "options", {}))
        self._busy = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._changing = threading.Lock()
        self._remembered = remembered
        self._known: OrderedDict[str, Vectors] = OrderedDict()

    def __getattr__(self, name: str) -> Any:
        """What this class does not say is the encoder's: how much it reads of a document, and more of the kind."""
        return getattr(self._encoder, name)

    def encode_queries(self, texts: Sequence[str]) -> list[Vectors]:
        """One float32 (tokens, dim) array a question; read-only, as others may get the same."""
        found = {text: self._recall(text) for text in texts}
        tickets = [_Ticket(text) for text, known in found.items() if known is None]
        with self._changing:
            self._waiting += tickets
        while not all(ticket.served for ticket in tickets):
            with self._busy:
                # Another thread may have served ours while we waited for the encoder.
                if not all(ticket.served for ticket in tickets):
                    self._serve()
        for ticket in tickets:
            if ticket.error is not None:
                raise ticket.error
            found[ticket.text] = ticket.vectors
        return [vectors for text in texts if (vectors := found[text]) is not None]

    def encode_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """One float32 (tokens, dim) array a text; questions do not wait for it, unless the encoder makes them."""
        return self._encoder.encode_documents(texts)

    def tokens(self, text: str, *, query: bool) -> Sequence[Any]:
        """The token of every row that encoding `text` gives."""
        return self._encoder.tokens(text, query=query)

    def _serve(self) -> None:
        with self._changing:
            batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
        try:
            self._encode(batch)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            # One question that cannot be encoded must not fail the others.
            for ticket in batch:
                try:
                    self._encode([ticket])
                except Exception as own:
                    ticket.error = own
        self._observe(len(batch))

    def _encode(self, batch: list[_Ticket]) -> None:
        encoded = self._encoder.encode_queries([ticket.text for ticket in batch])
        for ticket, vectors in zip(batch, encoded, strict=True):
            vectors.setflags(write=False)
            if self._remembered:
                with self._changing:
                    self._known[ticket.text] = vectors
                    while len(self._known) > self._remembered:
                        self._known.popitem(last=False)
            ticket.vectors = vectors

    def _recall(self, text: str) -> Vectors | None:
        with self._changing:
            vectors = self._known.get(text)
            if vectors is not None:
                self._known.move_to_end(text)
            return vectors
