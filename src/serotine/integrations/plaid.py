"""Reading other people's PLAID indexes: token vectors rebuilt from centroids and residual buckets.

Two layouts, of one idea (Santhanam et al. 2022, "PLAID"): a folder with ``metadata.json``, a codebook, and for every
chunk the centroid of each token, its residual as packed bucket numbers, and the lengths of its documents.

- "fast-plaid": ``.npy`` files, as fast-plaid 1.x writes them, for each chunk or, from 1.7 on, merged; PyLate keeps such
  a folder as ``fast_plaid_index`` and its document ids beside it.
- "colbert": ``.pt`` files, as Stanford's ColBERT (and PyLate with ``use_fast=False``) writes them. Reading these needs
  torch.

Nothing in such a folder is executed: arrays are read without pickles, torch's files as weights only, and PyLate's
pickled ids by a reader that knows plain containers, numbers and strings and refuses everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serotine.errors import InputFileError
from serotine.integrations.plaid_files import Load, load_npy, load_pt, read_array, read_chunk, read_ids, read_json

# Tokens rebuilt at once: 32 MB of float32 at 128 dimensions, the unpacked bits as much again.
_TOKENS_AT_ONCE = 1 << 16
_INNER = "fast_plaid_index"
_IDS = "plaid_ids_to_documents_ids.pkl"


@dataclass(frozen=True, slots=True)
class PlaidIndex:
    """An index to read.

    Attributes:
        folder: where its ``metadata.json`` is.
        kind: which layout.
        dim: dimension of a token vector.
        nbits: bits a dimension of its residuals.
        ids: one a document, in order: PyLate's, or else the position, "0", "1", ...
        lengths: tokens of each document, one list a chunk.
    """

    folder: Path
    kind: Literal["fast-plaid", "colbert"]
    dim: int
    nbits: int
    ids: list[str]
    lengths: list[list[int]]
    _centroids: NDArray[np.float32]
    _weights: NDArray[np.float32]
    _load: Load

    @property
    def tokens(self) -> int:
        """Token vectors, all documents together."""
        return sum(map(sum, self.lengths))

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yields ids and unit token vectors, float16 (tokens, dim), as `Index.add_batches` takes them.

        Raises:
            InputFileError: a file is missing, damaged, or does not fit the others.
        """
        first = 0
        for chunk, lengths in enumerate(self.lengths):
            codes, residuals = self._chunk(chunk, sum(lengths))
            ids = self.ids[first : first + len(lengths)]
            first += len(lengths)
            ends = np.cumsum(lengths, dtype=np.int64)
            done = token = 0
            while done < len(lengths):
                # At least one document, however long.
                until = max(int(np.searchsorted(ends, token + _TOKENS_AT_ONCE, side="right")), done + 1)
                end = int(ends[until - 1])
                vectors = self._rebuilt(codes[token:end], residuals[token:end])
                yield {"ids": ids[done:until], "vectors": np.split(vectors, ends[done : until - 1] - token)}
                done, token = until, end

    def _chunk(self, chunk: int, tokens: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        (codes_path, codes), (residuals_path, residuals) = (self._part(part, chunk) for part in ("codes", "residuals"))
        if codes.shape != (tokens,) or codes.dtype.kind not in "iu":
            raise InputFileError(
                f"{codes_path}: want {tokens:,} integers, got {codes.dtype} {codes.shape}; copy it again"
            )
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < len(self._centroids):
            raise InputFileError(f"{codes_path}: names centroids beyond the {len(self._centroids):,} there are")
        width = self.dim * self.nbits // 8
        if residuals.shape != (tokens, width) or residuals.dtype != np.uint8:
            raise InputFileError(
                f"{residuals_path}: want bytes of shape ({tokens}, {width}), got {residuals.dtype} {residuals.shape}"
            )
        return codes, residuals

    def _part(self, part: str, chunk: int) -> tuple[Path, NDArray[Any]]:
        if self.kind == "fast-plaid":
            return read_chunk(self.folder, part, chunk, [sum(lengths) for lengths in self.lengths])
        path = self.folder / f"{chunk}.{part}.pt"
        return path, read_array(self._load, path)

    def _rebuilt(self, codes: NDArray[Any], residuals: NDArray[np.uint8]) -> NDArray[np.float16]:
        # A bucket number was written with its lowest bit first, into bytes filled from the highest bit.
        bits = np.unpackbits(residuals, axis=1).reshape(len(codes), self.dim, self.nbits)
        buckets = np.packbits(bits, axis=2, bitorder="little")[:, :, 0]
        vectors = self._centroids[codes] + self._weights[buckets]
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        vectors /= np.maximum(norms, 1e-12)[:, None]
        half: NDArray[np.float16] = vectors.astype(np.float16)
        return half


_SUFFIXES = {"fast-plaid": ".npy", "colbert": ".pt"}


def recognise(folder: str | Path) -> Path | None:
    """The folder with the files, if `folder` is an index of either kind, or PyLate's folder around one; else None."""
    for place in (Path(folder), Path(folder) / _INNER):
        if (place / "metadata.json").is_file() and any(
            (place / f"centroids{suffix}").is_file() for suffix in _SUFFIXES.values()
        ):
            return place
    return None


def read(folder: str | Path) -> PlaidIndex:
    """Reads what describes an index; its vectors come from `PlaidIndex.batches`, in bounded memory.

    Args:
        folder: a fast-plaid or Stanford ColBERT index, or PyLate's folder of one.

    Raises:
        InputFileError: it is none, or a file is missing, damaged, or does not fit the others.
    """
    place = recognise(folder)
    if place is None:
        raise InputFileError(
            f"{folder}: is no fast-plaid, PyLate or ColBERT index; want a folder with metadata.json and centroids"
        )
    kind: Literal["fast-plaid", "colbert"] = "fast-plaid" if (place / "centroids.npy").is_file() else "colbert"
    load = load_npy if kind == "fast-plaid" else load_pt
    centroids = read_array(load, place / f"centroids{_SUFFIXES[kind]}").astype(np.float32)
    described = place / "metadata.json"
    metadata = read_json(described)
    try:
        nbits = int(metadata["nbits"] if kind == "fast-plaid" else metadata["config"]["nbits"])
        chunks = int(metadata["num_chunks"])
    except (KeyError, TypeError, ValueError):
        raise InputFileError(f"{described}: does not say nbits and num_chunks; copy the index again, whole") from None
    if centroids.ndim != 2 or nbits not in (1, 2, 4, 8) or centroids.shape[1] * nbits % 8:
        raise InputFileError(f"{described}: {nbits} bits with centroids of shape {centroids.shape} cannot be read")
    weights = _weights(place, kind, load).astype(np.float32)
    if weights.shape != (1 << nbits,):
        raise InputFileError(f"{place}: has {weights.size:,} bucket weights where {nbits} bits need {1 << nbits}")
    lengths = [_lengths(place / f"doclens.{chunk}.json") for chunk in range(chunks)]
    return PlaidIndex(
        folder=place,
        kind=kind,
        dim=centroids.shape[1],
        nbits=nbits,
        ids=_ids(place, sum(map(len, lengths))),
        lengths=lengths,
        _centroids=centroids,
        _weights=weights,
        _load=load,
    )


def _weights(place: Path, kind: str, load: Load) -> NDArray[Any]:
    if kind == "fast-plaid":
        return read_array(load, place / "bucket_weights.npy")
    try:
        return read_array(lambda path: load(path)[1], place / "buckets.pt")
    except (IndexError, TypeError):
        raise InputFileError(f"{place / 'buckets.pt'}: want cutoffs and weights; copy it again") from None


def _lengths(path: Path) -> list[int]:
    lengths = read_json(path)
    if not isinstance(lengths, list) or any(type(length) is not int or length < 0 for length in lengths):
        raise InputFileError(f"{path}: want a list of numbers of tokens; copy it again")
    return lengths


def _ids(place: Path, documents: int) -> list[str]:
    """PyLate's ids where its mapping lies in the folder or, around `fast_plaid_index`, above it; else positions."""
    above = place.parent if place.name == _INNER else place
    path = above / _IDS
    if not path.is_file():
        if (path.with_suffix(".sqlite")).is_file():
            raise InputFileError(
                f"{path.with_suffix('.sqlite')}: holds ids as PyLate before 1.4 wrote them; open the index once with a "
                "newer PyLate, or index again"
            )
        return [str(position) for position in range(documents)]
    return read_ids(path, documents)
