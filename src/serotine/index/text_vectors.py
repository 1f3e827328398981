"""Token vectors of texts: encoding in batches, with everything an encoder returns checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.ahead import computed_ahead
from serotine.errors import EncoderError
from serotine.index.documents import float_vectors, stored_vectors
from serotine.issued_warnings import muted_warnings
from serotine.progress import progress_bar
from serotine.text_encoder import TextEncoder
from serotine.texts import has_visible

# Texts per call of the encoder: enough for it to sort by length, few enough to bound memory.
_BATCH = 1024


def encode_queries(encoder: TextEncoder, queries: Sequence[str], dim: int) -> list[NDArray[np.float32]]:
    """Return the token vectors of every query, float32 (tokens, dim); warning of texts is the caller's.

    Raises:
        EncoderError: the encoder returned another number of arrays.
        TypeError, ValueError: it returned something other than finite vectors of dimension `dim`.
    """
    with muted_warnings():
        encoded = encoder.encode_queries(queries)
    _check_count(encoder, encoded, queries)
    return [float_vectors(vectors, f"encoder {encoder.name!r}", dim) for vectors in encoded]


def encode_documents(
    encoder: TextEncoder, texts: Sequence[str], dim: int, *, show_progress: bool
) -> Iterator[NDArray[np.float16]]:
    """Yield the token vectors of every text, float16 (tokens, dim), in bounded memory; none for a text without words.

    Warning of texts is the caller's.

    Raises:
        EncoderError: the encoder returned another number of arrays.
        TypeError, ValueError: it returned something other than finite vectors of dimension `dim`.
    """
    with progress_bar(len(texts), "Encoding", enabled=show_progress) as advance:
        batches = _encoded_batches(encoder, texts, dim)
        # While the caller writes a batch, the next is encoded.
        for batch in computed_ahead(batches) if len(texts) > _BATCH else batches:
            yield from batch
            advance(len(batch), tokens=sum(map(len, batch)))


def _encoded_batches(encoder: TextEncoder, texts: Sequence[str], dim: int) -> Iterator[list[NDArray[np.float16]]]:
    no_tokens = np.empty((0, dim), dtype=np.float16)
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        with_words = [text for text in batch if has_visible(text)]
        with muted_warnings():
            encoded = encoder.encode_documents(with_words) if with_words else []
        _check_count(encoder, encoded, with_words)
        vectors = (stored_vectors(rows, f"encoder {encoder.name!r}", dim) for rows in encoded)
        yield [next(vectors) if has_visible(text) else no_tokens for text in batch]


def _check_count(encoder: TextEncoder, encoded: Sequence[object], texts: Sequence[str]) -> None:
    if len(encoded) != len(texts):
        raise EncoderError(
            f"encoder {encoder.name!r}: must return one array per text, {len(texts):,}, got {len(encoded):,}"
        )
