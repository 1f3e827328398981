"""Small collections in the forms that the compiled core reads."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import _core, maxsim
from serotine.index.files import nearest

Array = NDArray[Any]


@dataclass
class TokenCodes:
    """Codes of tokens, with their vectors and codebook.

    Centroids and assignments are random; with `trained`, centroids are tokens and every token has its nearest centroid.
    """

    vectors: Array
    bits: int
    count: int
    seed: int = 0
    uint32_ids: bool = False
    trained: bool = False
    max_spread: float = 0.0
    ids: Array = field(init=False)
    centroids: Array = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        tokens, dim = self.vectors.shape
        max_value = float(np.abs(self.vectors).max(initial=0.0)) or 1.0
        self.centroids = rng.integers(-90, 91, (self.count, dim)).astype(np.int8)
        self.scales = np.full(self.count, max_value / 100, dtype=np.float32)
        self.ids = rng.integers(0, self.count, (tokens,)).astype(np.int32)
        floats = self.vectors.astype(np.float32)
        if self.trained:
            sample = floats[rng.choice(tokens, self.count, replace=self.count > tokens)]
            self.centroids = np.rint(sample / self.scales[0]).astype(np.int8)
            self.ids = nearest(floats, self.centroids * self.scales[:, None])
        self.spreads = rng.uniform(0, self.max_spread, self.count).astype(np.float32)
        self.codebook = _core.Codebook(self.centroids, self.scales, self.spreads)
        self.residual_scales = np.empty(tokens, np.uint8)
        self.errors = np.empty(tokens, np.uint8)
        self.residuals = np.empty((tokens, (dim * self.bits + 7) // 8), np.uint8)
        _core.encode_residuals(
            self.codebook, floats, self.ids, self.bits, self.residual_scales, self.errors, self.residuals
        )
        bounds = np.array([_core.error_bound(byte) for byte in range(255)] + [0.0])[self.errors] * self.scales[self.ids]
        norms = np.linalg.norm(floats.astype(np.float64), axis=1)
        self.max_norm = float((norms + bounds).max(initial=0.0)) * (1 + 1e-6)

    @property
    def id_bytes(self) -> Array:
        """Return the ids as the bindings take them: uint8 (tokens, 2 or 4)."""
        dtype = np.dtype(np.uint32 if self.uint32_ids else np.uint16)
        return self.ids.astype(dtype).view(np.uint8).reshape(len(self.ids), dtype.itemsize)

    def of_rows(self, rows: slice) -> TokenCodes:
        """Return the codes of some of the tokens, with the same codebook."""
        part = copy.copy(self)
        for name in ("vectors", "ids", "residual_scales", "errors", "residuals"):
            setattr(part, name, getattr(self, name)[rows])
        return part

    def attach_to(self, segment: _core.Segment) -> _core.Segment:
        """Set the codes of the segment and return it."""
        segment.set_codes(
            self.codebook, self.id_bytes, self.residual_scales, self.errors, self.residuals, self.bits, self.max_norm
        )
        return segment

    def attach_postings_to(self, segment: _core.Segment, offsets: Array) -> _core.Segment:
        """Set the posting lists of the segment, whose documents have these `offsets`, and return it."""
        starts = np.empty(self.count + 1, np.uint64)
        segment.set_postings(starts, _core.make_postings(self.id_bytes, offsets, starts))
        return segment


def offsets_of(lengths: list[int]) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def mask_of(keep: Array) -> Array:
    padded = np.zeros(-(-keep.size // 64) * 64, dtype=bool)
    padded[: keep.size] = keep
    return np.packbits(padded, bitorder="little").view("<u8")


def options_of(k: int, **options: Any) -> _core.SearchOptions:
    """Return search options with small defaults."""
    defaults = {"refined": 16, "candidates": 8, "rescored": 8, "postings": 40, "exact": False}
    return _core.SearchOptions(k=k, **(defaults | options))


def search(
    segments: list[_core.Segment], query: Array, k: int, **options: Any
) -> tuple[list[float], list[int], _core.SearchReport]:
    """Return the scores, numbers and report of one query."""
    masks = options.pop("masks", [None] * len(segments))
    ends = np.array([0, len(query)], dtype=np.int64)
    (result,) = _core.search(query.astype(np.float32), ends, segments, masks, options_of(k, **options))
    return result.scores, result.numbers, result.report


def random_tokens(rng: np.random.Generator, tokens: int, dim: int, kind: str) -> Array:
    floats = rng.standard_normal((tokens, dim))
    if kind == "unit":
        floats /= np.maximum(np.linalg.norm(floats, axis=1, keepdims=True), 1e-9)
    elif kind == "ties":
        floats = rng.integers(-1, 2, (tokens, dim)).astype(np.float64)
    elif kind == "huge":
        floats *= 5000
    elif kind == "mixed":
        # Norms orders of magnitude apart, also within one document.
        floats *= 10.0 ** rng.uniform(-5, 4, (tokens, 1))
    elif kind == "constant":
        floats = np.ones((tokens, dim)) * rng.uniform(-1, 1, (tokens, 1))
    elif kind == "negative":
        floats = -np.abs(floats)
    return np.clip(floats, -65000, 65000).astype(np.float16)


class CoreCase:
    """A query, and documents in three segments; where segments have vectors, the middle one has no codes."""

    def __init__(
        self,
        lengths: list[int],
        dim: int,
        kind: str,
        seed: int,
        *,
        coded: str = "both",
        bits: int = 4,
        query_tokens: int = 5,
        with_postings: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.documents = [random_tokens(rng, length, dim, kind) for length in lengths]
        # The last documents repeat the first ones: ties between segments.
        copies = seed % 4 if len(lengths) > 8 else 0
        lengths = lengths[: len(lengths) - copies] + lengths[:copies]
        self.documents = self.documents[: len(lengths) - copies] + self.documents[:copies]
        self.query = random_tokens(rng, query_tokens, dim, kind).astype(np.float32)
        if kind == "negative":
            self.query = np.abs(self.query)
        self.numbers = np.cumsum(rng.integers(1, 4, len(lengths))).astype(np.int64)
        cuts = [0, len(lengths) // 3, 2 * len(lengths) // 3, len(lengths)]
        self.segments: list[_core.Segment] = []
        self.codes: list[TokenCodes] = []
        self.ranges: list[slice] = []
        for i, (first, last) in enumerate(itertools.pairwise(cuts)):
            if first == last:
                continue
            vectors = np.concatenate([np.empty((0, dim), np.float16), *self.documents[first:last]])
            with_vectors = coded != "codes"
            segment = _core.Segment(
                offsets_of([len(d) for d in self.documents[first:last]]),
                self.numbers[first:last],
                vectors.view(np.uint16) if with_vectors else None,
            )
            if i != 1 or not with_vectors:
                codes = TokenCodes(vectors, bits, count=3 + i, seed=seed + i, uint32_ids=i == 2)
                self.codes.append(codes)
                codes.attach_to(segment)
                if with_postings:
                    codes.attach_postings_to(segment, offsets_of([len(d) for d in self.documents[first:last]]))
            self.segments.append(segment)
            self.ranges.append(slice(first, last))

    def exact_ranking(self, keep: Array | None = None) -> list[tuple[float, int]]:
        """Return (score, number) of all documents, or those to keep, best first."""
        scores = maxsim.score(self.query, self.documents).tolist() if self.documents else []
        candidates = [i for i in range(len(scores)) if keep is None or keep[i]]
        return sorted(((scores[i], int(self.numbers[i])) for i in candidates), key=lambda pair: (-pair[0], pair[1]))
