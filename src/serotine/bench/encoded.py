"""A judged collection as token vectors: encoded once, kept in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.evaluation import Collection
from serotine.index.text_encoder import TextEncoder
from serotine.progress import progress_bar

# Texts of one cached file: what an interruption can cost.
_TEXTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Encoded:
    """A judged collection as token vectors.

    Attributes:
        collection: the texts and judgements.
        vectors: float16 (tokens, dim), the documents end to end.
        offsets: int64 (documents + 1,).
        queries: float32 (tokens, dim) each, in the order of `collection.queries`.
    """

    collection: Collection
    vectors: NDArray[np.float16]
    offsets: NDArray[np.int64]
    queries: list[NDArray[np.float32]]


def encode(collection: Collection, encoder: TextEncoder, cache: Path, *, show_progress: bool = False) -> Encoded:
    """Encodes a collection; what `cache` has of it, also from an interrupted run, is read instead."""
    parts: dict[bool, list[NDArray[np.float16]]] = {}
    for query, texts in ((True, list(collection.queries.values())), (False, list(collection.documents.values()))):
        run = encoder.encode_queries if query else encoder.encode_documents
        parts[query] = []
        with progress_bar(len(texts), "Encoding", enabled=show_progress) as advance:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                chunk = texts[start : start + _TEXTS_AT_ONCE]
                parts[query] += _cached(cache, encoder.fingerprint, chunk, run, query=query)
                advance(len(chunk))
    documents = parts[False]
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in documents])]).astype(np.int64)
    return Encoded(collection, np.concatenate(documents), offsets, [rows.astype(np.float32) for rows in parts[True]])


def _cached(
    cache: Path,
    fingerprint: str,
    texts: list[str],
    run: Callable[[list[str]], list[NDArray[np.float32]]],
    *,
    query: bool,
) -> list[NDArray[np.float16]]:
    # The lengths part the texts: joined, other texts could hash alike.
    said = "".join(f"{len(text)}:{text}" for text in texts)
    digest = hashlib.sha256(f"{fingerprint} {query} {said}".encode()).hexdigest()
    file = cache / f"{digest[:32]}.npz"
    if not file.is_file():
        found = run(texts)
        cache.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".tmp.npz")
        np.savez(
            scratch,
            vectors=np.concatenate(found).astype(np.float16),
            ends=np.cumsum([len(rows) for rows in found]),
        )
        scratch.replace(file)
    with np.load(file) as stored:
        return np.split(stored["vectors"], stored["ends"][:-1])
