"""Small collections in the forms the compiled search reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.index import clustering

Array = NDArray[Any]


@dataclass
class Coded:
    """Codes of some tokens, and everything they were made from.

    The centroids are random, and whose token is whose is too; or, `fitting`, they are tokens, each the others' nearest.
    """

    vectors: Array
    bits: int
    count: int
    seed: int = 0
    wide: bool = False
    fitting: bool = False
    ids: Array = field(init=False)
    centroids: Array = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        tokens, dim = self.vectors.shape
        size = float(np.abs(self.vectors).max(initial=0.0)) or 1.0
        self.centroids = rng.integers(-90, 91, (self.count, dim)).astype(np.int8)
        self.scales = np.full(self.count, size / 100, dtype=np.float32)
        self.ids = rng.integers(0, self.count, (tokens,)).astype(np.int32)
        floats = self.vectors.astype(np.float32)
        if self.fitting:
            chosen = floats[rng.choice(tokens, self.count, replace=self.count > tokens)]
            self.centroids = np.rint(chosen / self.scales[0]).astype(np.int8)
            self.ids = clustering.nearest(floats, self.centroids * self.scales[:, None])
        self.codebook = _core.Codebook(self.centroids, self.scales)
        self.steps = np.empty(tokens, np.uint8)
        self.errors = np.empty(tokens, np.uint8)
        self.residuals = np.empty((tokens, (dim * self.bits + 7) // 8), np.uint8)
        _core.encode_residuals(self.codebook, floats, self.ids, self.bits, self.steps, self.errors, self.residuals)
        bounds = np.array([_core.error_bound(byte) for byte in range(255)] + [0.0])[self.errors] * self.scales[self.ids]
        norms = np.linalg.norm(floats.astype(np.float64), axis=1)
        self.longest = float((norms + bounds).max(initial=0.0)) * (1 + 1e-6)

    @property
    def id_bytes(self) -> Array:
        """The ids as the bindings take them: uint8 (tokens, 2 or 4)."""
        kind = np.dtype(np.uint32 if self.wide else np.uint16)
        return self.ids.astype(kind).view(np.uint8).reshape(len(self.ids), kind.itemsize)

    def put_into(self, part: _core.Part) -> _core.Part:
        part.set_codes(self.codebook, self.id_bytes, self.steps, self.errors, self.residuals, self.bits, self.longest)
        return part

    def put_lists_into(self, part: _core.Part, offsets: Array) -> _core.Part:
        """Posting lists of the documents that `offsets` cuts the tokens into."""
        starts = np.empty(self.count + 1, np.uint64)
        part.set_postings(starts, _core.make_postings(self.id_bytes, offsets, starts))
        return part


def offsets_of(lengths: list[int]) -> Array:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def mask_of(keep: Array) -> Array:
    padded = np.zeros(-(-keep.size // 64) * 64, dtype=bool)
    padded[: keep.size] = keep
    return np.packbits(padded, bitorder="little").view("<u8")


def search(
    parts: list[_core.Part], query: Array, k: int, **options: Any
) -> tuple[list[float], list[int], dict[str, Any]]:
    allowed = options.pop("allowed", [None] * len(parts))
    chosen = {"candidates": 8, "rescored": 8, "probes": 4, "exact": False} | options
    ends = np.array([0, len(query)], dtype=np.int64)
    (found,) = _core.search(query.astype(np.float32), ends, parts, allowed, k, **chosen)
    return found
