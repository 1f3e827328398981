"""Codebooks: the centroids that residual codes refer to, and the encoding of token vectors with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.errors import index_damaged, reason
from serotine.index.files.arrays import MALFORMED, ArraysFile, ArraysWriter, FileRecord
from serotine.index.files.names import CODEBOOK
from serotine.index.files.router import Router, route

# Sampled tokens per centroid in training, and the maximum size of a sample in bytes of fp32.
SAMPLES = 24
_MAX_SAMPLE_BYTES = 1 << 30
# Limits on PLAID's rule (Santhanam et al. 2022): a centroid needs some tokens to be the mean of, and more than 65,536
# centroids no longer fit two bytes per token.
_MIN_SAMPLES, _MAX_SUGGESTED = 8, 1 << 16
# Maximum of an explicit number of centroids.
MAX_CENTROIDS = 1 << 20
# A centroid's int8 scale covers components up to this many standard deviations of the residual.
_DEVIATIONS = 2.5
# A centroid with fewer sampled tokens than this uses the spread of all tokens.
_MIN_SPREAD_TOKENS = 4
# Error byte of a token without an error bound.
_NO_BOUND = 255


@dataclass(frozen=True, slots=True)
class CodebookRecord:
    """The catalog's record of a codebook.

    Attributes:
        file: record of its file.
        centroids: number of centroids.
        tokens: number of tokens that the collection had, or was expected to have, when it was trained.
    """

    file: FileRecord
    centroids: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Codes:
    """Residual codes of tokens.

    Attributes:
        ids: uint16 (tokens,), the centroids; uint32 for more than 65,536 centroids.
        residual_scales: uint8 (tokens,), the quantized scale of the residual.
        errors: uint8 (tokens,), the logarithm of an upper bound of the error's norm.
        residuals: uint8 (tokens, ceil(dim * bits / 8)).
        max_norm: upper bound of the norm of every vector rebuilt from these codes.
    """

    ids: NDArray[np.uint16] | NDArray[np.uint32]
    residual_scales: NDArray[np.uint8]
    errors: NDArray[np.uint8]
    residuals: NDArray[np.uint8]
    max_norm: float

    @property
    def byte_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a few bytes per token, beside the residuals, by their names in a codes file."""
        return {"ids": self.ids, "steps": self.residual_scales, "errors": self.errors}


def centroids_for(tokens: int) -> int:
    """Return the number of centroids for a collection: 2^floor(log2(16 sqrt(tokens))), within bounds."""
    suggested = 1 << int(math.log2(16 * math.sqrt(max(tokens, 1))))
    return max(1, min(suggested, tokens // _MIN_SAMPLES, _MAX_SUGGESTED))


def sample_size(centroids: int, dim: int) -> int:
    """Return the number of sampled tokens that train `centroids` centroids."""
    return max(min(SAMPLES * centroids, _MAX_SAMPLE_BYTES // (4 * dim)), centroids)


def id_type(centroids: int) -> type[np.uint16] | type[np.uint32]:
    """Return the smallest dtype that holds a centroid number."""
    return np.uint16 if centroids <= 1 << 16 else np.uint32


def row_bytes(dim: int, bits: int) -> int:
    """Return the number of bytes of a token's residual."""
    return (dim * bits + 7) // 8


def quantize(
    fine: NDArray[np.float32], squares: NDArray[np.float64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize centroids to int8, each with a scale wide enough for its residuals.

    Args:
        fine: float32 (centroids, dim).
        squares: float64 (centroids,), summed squared distances of the sampled tokens to their centroid.
        sizes: int64 (centroids,), number of those tokens.
    """
    dim = fine.shape[1]
    spread = np.sqrt(squares / np.maximum(sizes, 1) / dim)
    spread = np.where(sizes >= _MIN_SPREAD_TOKENS, spread, np.sqrt(squares.sum() / max(int(sizes.sum()), 1) / dim))
    scales = (np.abs(fine).max(axis=1) + _DEVIATIONS * spread) / 127
    # All-zero vectors would give scale 0; a scale far below fp32's range would divide to infinity.
    scales = np.maximum(scales, max(float(scales.max(initial=0.0)) * 1e-6, 1e-30)).astype(np.float32)
    return np.clip(np.rint(fine / scales[:, None]), -127, 127).astype(np.int8), scales


def spreads(centroids: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation of a residual's dimensions for every centroid, as its scale has room for it."""
    largest = np.maximum(centroids.max(axis=1).astype(np.int32), -centroids.min(axis=1).astype(np.int32))
    room: NDArray[np.float32] = np.maximum(127 - largest, 0).astype(np.float32) * scales
    return room / np.float32(_DEVIATIONS)


class Codebook:
    """Centroids, ready to encode and search.

    Attributes:
        core: the compiled core's view.
        training_error: mean error bound of the tokens it was trained on.
    """

    def __init__(
        self,
        centroids: NDArray[np.int8],
        scales: NDArray[np.float32],
        coarse: NDArray[np.float32],
        training_error: float = 0.0,
    ) -> None:
        self.core = _core.Codebook(centroids, scales, spreads(centroids, scales))
        self.training_error = training_error
        self._centroids = centroids
        self._scales = scales
        self._coarse = coarse

    def __len__(self) -> int:
        return len(self._centroids)

    def write(self, path: Path) -> FileRecord:
        """Write it to a file and return the file's record."""
        with ArraysWriter(path, CODEBOOK) as writer:
            writer.append("centroids", self._centroids)
            writer.append("scales", self._scales)
            writer.append("coarse", self._coarse)
            writer.attributes = {"error": self.training_error}
        return writer.record

    @cached_property
    def _router(self) -> Router:
        return route(np.array(self._coarse), self._centroids * self._scales[:, None])

    def encode(self, vectors: NDArray[np.float32], bits: int) -> Codes:
        """Encode token vectors, float32 (tokens, dim), with `bits` per dimension."""
        count, dim = vectors.shape
        ids = self._router.assign(vectors)
        residual_scales = np.empty(count, dtype=np.uint8)
        errors = np.empty(count, dtype=np.uint8)
        residuals = np.empty((count, row_bytes(dim, bits)), dtype=np.uint8)
        _core.encode_residuals(self.core, vectors, ids, bits, residual_scales, errors, residuals)
        bounded = errors != _NO_BOUND
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        max_norm = float((norms + self._error_bounds(ids, errors))[bounded].max(initial=0.0)) * (1 + 1e-6)
        unsigned_ids: NDArray[Any] = ids.astype(id_type(len(self)))
        return Codes(unsigned_ids, residual_scales, errors, residuals, max_norm)

    def mean_error(self, vectors: NDArray[np.float32], bits: int) -> float:
        """Return the mean error bound of the codes of token vectors, float32 (tokens, dim)."""
        codes = self.encode(vectors, bits)
        bounds = self._error_bounds(codes.ids, codes.errors)[codes.errors != _NO_BOUND]
        return float(bounds.mean()) if bounds.size else 0.0

    def _error_bounds(self, ids: NDArray[Any], errors: NDArray[np.uint8]) -> NDArray[np.float64]:
        bounds: NDArray[np.float64] = _ERROR_BOUNDS[np.minimum(errors, _NO_BOUND - 1)] * self._scales[ids]
        return bounds


def open_codebook(folder: Path, record: CodebookRecord, dim: int) -> Codebook:
    """Open a codebook's file.

    Raises:
        IndexDamagedError: the file is missing or damaged.
    """
    file = ArraysFile(folder / record.file.name, record.file, CODEBOOK)
    try:
        centroids, coarse = file.arrays["centroids"], file.arrays["coarse"]
        if centroids.shape != (record.centroids, dim) or coarse.shape[1:] != (dim,):
            raise ValueError(f"centroids of shape {centroids.shape}")
        if coarse.dtype != np.float32 or not centroids.size or not coarse.size:
            raise ValueError(f"coarse centroids of shape {coarse.shape} and type {coarse.dtype}")
        return Codebook(centroids, file.arrays["scales"], coarse, float(file.attributes["error"]))
    except MALFORMED as error:
        raise index_damaged(f"{file.path}: damaged ({reason(error)})") from error


_ERROR_BOUNDS: NDArray[np.float64] = np.array([_core.error_bound(byte) for byte in range(256)])
