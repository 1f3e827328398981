"""An encoder without a model: every word has a fixed random direction."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import TextCoverage


@dataclass(frozen=True)
class FakeToken:
    text: str
    start: int
    end: int


class WordEncoder:
    """An encoder that gives a special token and every word one unit vector each."""

    def __init__(self, dim: int = 16, name: str = "words") -> None:
        self.dim = dim
        self.name = name
        self.fingerprint = f"{name}-{dim}"

    def tokens(self, text: str, *, query: bool) -> list[FakeToken]:
        special = FakeToken("[Q]" if query else "[D]", 0, 0)
        return [special, *(FakeToken(m.group().lower(), m.start(), m.end()) for m in re.finditer(r"\w+", text))]

    def _encode(self, texts: Sequence[str], *, query: bool) -> list[NDArray[np.float32]]:
        return [np.stack([self._vector(token.text) for token in self.tokens(text, query=query)]) for text in texts]

    def _vector(self, word: str) -> NDArray[np.float32]:
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
        vector = np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
        return vector / np.linalg.norm(vector)

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return self._encode(texts, query=True)

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return self._encode(texts, query=False)


class DenseEncoder(WordEncoder):
    """A `WordEncoder` whose vector of a whole text is the mean of its words' vectors, in twice as many dimensions."""

    def __init__(self, dim: int = 16, name: str = "dense", *, similarity: str = "cosine") -> None:
        super().__init__(dim, name)
        self.pooled_dim = 2 * dim
        self.pooled_similarity = similarity
        self.passes = 0

    def encode_documents(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        self.passes += len(texts)
        return super().encode_documents(texts)

    def encode_pooled(self, texts: Sequence[str], *, query: bool) -> NDArray[np.float32]:
        self.passes += len(texts)
        return self._pooled(self._encode(texts, query=query))

    def encode_documents_with_pooled(
        self, texts: Sequence[str]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        vectors = self.encode_documents(texts)
        return vectors, self._pooled(vectors)

    def _pooled(self, vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        rows = np.stack([np.concatenate([v[1:].sum(axis=0), v[0]]) for v in vectors]).astype(np.float32)
        if self.pooled_similarity == "cosine":
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows


class ShortEncoder(WordEncoder):
    """A `WordEncoder` that reads so many words of a document and of a query; it knows no word with a "q"."""

    def __init__(self, document_room: int = 20, query_room: int = 5) -> None:
        super().__init__(64, "short")
        self.document_room = document_room
        self.query_room = query_room

    def tokens(self, text: str, *, query: bool) -> list[FakeToken]:
        return super().tokens(text, query=query)[: 1 + (self.query_room if query else self.document_room)]

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        words = [[match.span() for match in re.finditer(r"\w+", text)] for text in texts]
        return [np.array(spans, np.int32).reshape(-1, 2) for spans in words]

    def coverage(self, texts: Sequence[str], *, query: bool = False) -> list[TextCoverage]:
        limit = self.query_room if query else self.document_room
        return [
            TextCoverage(
                len(re.findall(r"\w+", text)), limit, tuple(match.span() for match in re.finditer(r"\w*q\w*", text))
            )
            for text in texts
        ]
