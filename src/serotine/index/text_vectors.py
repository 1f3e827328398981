"""Token vectors of texts: encoding in batches, with everything an encoder returns checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.ahead import computed_ahead
from serotine.cutting import PassageContext
from serotine.errors import EncoderError
from serotine.index.documents import float_vectors, stored_vectors
from serotine.index.files import DocumentVectors
from serotine.index.pooled_model import PooledModel, checked_pooled
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
    encoder: TextEncoder,
    texts: Sequence[str],
    dim: int,
    contexts: Sequence[PassageContext | None] = (),
    *,
    show_progress: bool,
) -> Iterator[NDArray[np.float16]]:
    """Yield the token vectors of every text, float16 (tokens, dim), in bounded memory; none for a text without words.

    Warning of texts is the caller's.

    Args:
        encoder: the encoder.
        texts: the texts.
        dim: dimension of its vectors.
        contexts: what each text is encoded in, None for one that is encoded alone; empty where all are.
        show_progress: draw a bar on standard error.

    Raises:
        EncoderError: the encoder returned another number of arrays, or encodes no passages in their context.
        TypeError, ValueError: it returned something other than finite vectors of dimension `dim`.
    """
    with progress_bar(len(texts), "Encoding", enabled=show_progress) as advance:
        batches = _encoded_batches(encoder, texts, contexts or [None] * len(texts), dim)
        # While the caller writes a batch, the next is encoded.
        for batch in computed_ahead(batches) if len(texts) > _BATCH else batches:
            yield from batch
            advance(len(batch), tokens=sum(map(len, batch)))


def encode_with_pooled(
    encoder: TextEncoder,
    pooled: PooledModel,
    texts: Sequence[str],
    dim: int,
    contexts: Sequence[PassageContext | None] = (),
    *,
    show_progress: bool,
) -> Iterator[DocumentVectors]:
    """Yield the token vectors and the pooled vector of every text; as `encode_documents`.

    Texts that are encoded alone are read once where both are of one model. The pooled vector of a passage is that of
    its own text.
    """
    contexts = contexts or [None] * len(texts)
    blocks = range(0, len(texts), _BATCH)

    def batches() -> Iterator[list[DocumentVectors]]:
        for start in blocks:
            block = slice(start, start + _BATCH)
            with muted_warnings():
                encoded = _encoded_with_pooled(encoder, pooled, texts[block], contexts[block], dim)
            yield encoded

    with progress_bar(len(texts), "Encoding", enabled=show_progress) as advance:
        for batch in computed_ahead(batches()) if len(blocks) > 1 else batches():
            yield from batch
            advance(len(batch), tokens=sum(len(document.tokens) for document in batch))


def with_pooled(
    tokens: Iterator[NDArray[np.float16]], pooled: PooledModel, texts: Sequence[str]
) -> Iterator[DocumentVectors]:
    """Yield token vectors with the pooled vectors of texts."""
    for start in range(0, len(texts), _BATCH):
        yield from map(
            DocumentVectors, islice(tokens, _BATCH), pooled.vectors(texts[start : start + _BATCH], query=False)
        )


def _encoded_with_pooled(
    encoder: TextEncoder,
    pooled: PooledModel,
    texts: Sequence[str],
    contexts: Sequence[PassageContext | None],
    dim: int,
) -> list[DocumentVectors]:
    if any(context is not None for context in contexts) or not pooled.shares_pass():
        tokens = _encoded(encoder, texts, contexts, dim)
        return list(map(DocumentVectors, tokens, pooled.vectors(texts, query=False)))
    rows = np.zeros((len(texts), pooled.dim), dtype=np.float16)
    vectors = [np.empty((0, dim), dtype=np.float16)] * len(texts)
    if visible := [i for i, text in enumerate(texts) if has_visible(text)]:
        both: Any = encoder
        encoded, encoded_pooled = both.encode_documents_with_pooled([texts[i] for i in visible])
        _check_count(encoder, encoded, visible)
        for i, document in zip(visible, encoded, strict=True):
            vectors[i] = stored_vectors(document, f"encoder {encoder.name!r}", dim)
        rows[visible] = checked_pooled(pooled.get(), encoded_pooled, len(visible), pooled.dim)
    return list(map(DocumentVectors, vectors, rows))


def _encoded_batches(
    encoder: TextEncoder, texts: Sequence[str], contexts: Sequence[PassageContext | None], dim: int
) -> Iterator[list[NDArray[np.float16]]]:
    for start in range(0, len(texts), _BATCH):
        batch = slice(start, start + _BATCH)
        # Not around the yield: the caller's own warnings would be muted, and closing this generator sets the variable.
        with muted_warnings():
            encoded = _encoded(encoder, texts[batch], contexts[batch], dim)
        yield encoded


def _encoded(
    encoder: TextEncoder, texts: Sequence[str], contexts: Sequence[PassageContext | None], dim: int
) -> list[NDArray[np.float16]]:
    vectors = [np.empty((0, dim), dtype=np.float16)] * len(texts)
    alone = []
    in_context: dict[int, list[tuple[int, PassageContext]]] = {}
    for i, (text, context) in enumerate(zip(texts, contexts, strict=True)):
        if context is not None:
            in_context.setdefault(id(context.text), []).append((i, context))
        elif has_visible(text):
            alone.append(i)
    for passages in in_context.values():
        spans = [(context.start, context.end) for _, context in passages]
        rows = passage_encoder(encoder)(passages[0][1].text, spans, allow_empty=True)
        _check_count(encoder, rows, spans)
        for (i, _), passage in zip(passages, rows, strict=True):
            vectors[i] = stored_vectors(passage, f"encoder {encoder.name!r}", dim)
            # Of a word without end, all may be one token, which is another passage's.
            if not len(passage) and has_visible(texts[i]):
                alone.append(i)
    encoded = encoder.encode_documents([texts[i] for i in alone]) if alone else []
    _check_count(encoder, encoded, alone)
    for i, document in zip(alone, encoded, strict=True):
        vectors[i] = stored_vectors(document, f"encoder {encoder.name!r}", dim)
    return vectors


def passage_encoder(encoder: TextEncoder) -> Any:
    """Return an encoder's method `encode_passages`, which late chunking needs.

    Raises:
        EncoderError: it has none.
    """
    method = getattr(encoder, "encode_passages", None)
    if method is None:
        raise EncoderError(
            f'encoder {encoder.name!r}: does not encode passages in their context (a method "encode_passages"), which '
            "late chunking needs; use an encoder of Serotine's, or cut texts without it"
        )
    return method


def _check_count(encoder: TextEncoder, encoded: Sequence[object], texts: Sequence[object]) -> None:
    if len(encoded) != len(texts):
        raise EncoderError(
            f"encoder {encoder.name!r}: must return one array per text, {len(texts):,}, got {len(encoded):,}"
        )
