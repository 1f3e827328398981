"""Reading PLAID indexes of fast-plaid, PyLate and ColBERT: token vectors rebuilt from centroids and residual buckets.

Two layouts of one idea (Santhanam et al. 2022, "PLAID"): a folder with ``metadata.json``, a codebook, and for every
chunk the centroid of each token, its residual as packed bucket numbers, and the lengths of its documents.

- "fast-plaid": ``.npy`` files, as fast-plaid 1.x writes them, one per chunk or, from 1.7 on, merged. PyLate stores such
  a folder as ``fast_plaid_index``, with its document ids next to it.
- "colbert": ``.pt`` files, as Stanford's ColBERT (and PyLate with ``use_fast=False``) writes them. Reading them needs
  torch.

Nothing in such a folder is executed: arrays are read without pickles, torch's files as weights only, and PyLate's
pickled ids by a reader that refuses everything but plain containers, numbers and strings.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serotine.errors import InputFileError, missing_extra, reason, shown_id

# Tokens rebuilt at once: 32 MB of float32 at 128 dimensions, the unpacked bits as much again.
_TOKENS_AT_ONCE = 1 << 16
_FAST_PLAID_FOLDER = "fast_plaid_index"
_PYLATE_IDS_FILE = "plaid_ids_to_documents_ids.pkl"
_SUFFIXES = {"fast-plaid": ".npy", "colbert": ".pt"}

Load = Callable[[Path], Any]


@dataclass(frozen=True, slots=True)
class PlaidIndex:
    """A PLAID index to import.

    Attributes:
        folder: the folder that holds its ``metadata.json``.
        kind: its layout.
        dim: dimension of a token vector.
        nbits: bits per dimension of its residuals.
        ids: one per document, in order: PyLate's, or else the position, "0", "1", ...
        lengths: tokens of each document, one list per chunk.
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
        """Number of token vectors of all documents."""
        return sum(map(sum, self.lengths))

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yield ids and unit token vectors, float16 (tokens, dim), as `Index.add_batches` takes them.

        Raises:
            InputFileError: a file is missing, damaged, or does not match the others.
        """
        first = 0
        for chunk, lengths in enumerate(self.lengths):
            codes, residuals = self._read_chunk(chunk, sum(lengths))
            ids = self.ids[first : first + len(lengths)]
            first += len(lengths)
            token_ends = np.cumsum(lengths, dtype=np.int64)
            document = token = 0
            while document < len(lengths):
                # At least one document, however long.
                end = int(np.searchsorted(token_ends, token + _TOKENS_AT_ONCE, side="right"))
                end = max(end, document + 1)
                token_end = int(token_ends[end - 1])
                vectors = self._rebuild(codes[token:token_end], residuals[token:token_end])
                yield {"ids": ids[document:end], "vectors": np.split(vectors, token_ends[document : end - 1] - token)}
                document, token = end, token_end

    def _read_chunk(self, chunk: int, tokens: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        codes_path, codes = self._read_rows("codes", chunk)
        residuals_path, residuals = self._read_rows("residuals", chunk)
        if codes.shape != (tokens,) or codes.dtype.kind not in "iu":
            raise InputFileError(
                f"{codes_path}: must hold {tokens:,} integers, got {codes.dtype} {codes.shape}; copy the file again"
            )
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < len(self._centroids):
            raise InputFileError(
                f"{codes_path}: must hold centroid numbers below {len(self._centroids):,}, got {int(codes.min())} to "
                f"{int(codes.max())}; copy the file again"
            )
        width = self.dim * self.nbits // 8
        if residuals.shape != (tokens, width) or residuals.dtype != np.uint8:
            raise InputFileError(
                f"{residuals_path}: must hold uint8 of shape ({tokens}, {width}), got {residuals.dtype} "
                f"{residuals.shape}; copy the file again"
            )
        return codes, residuals

    def _read_rows(self, kind: str, chunk: int) -> tuple[Path, NDArray[Any]]:
        """Return the "codes" or "residuals" of one chunk, and the file they are in."""
        if self.kind == "colbert":
            path = self.folder / f"{chunk}.{kind}.pt"
            return path, _read_array(self._load, path)
        name = f"{chunk}.{kind}.npy"
        chunk_path, merged_path = self.folder / name, self.folder / f"merged_{kind}.npy"
        if chunk_path.is_file() or not merged_path.is_file():
            return chunk_path, _read_array(self._load, chunk_path)
        # Version 1.7 merges the files of chunks, end to end; a manifest says how many rows each chunk has.
        manifest_path = self.folder / f"merged_{kind}.manifest.json"
        rows = {i: sum(lengths) for i, lengths in enumerate(self.lengths)}
        if manifest_path.is_file():
            manifest = _read_json(manifest_path)
            try:
                rows |= {i: int(manifest[f"{i}.{kind}.npy"]["rows"]) for i in range(chunk + 1)}
            except (KeyError, TypeError, ValueError):
                raise InputFileError(
                    f"{manifest_path}: has no number of rows for {name}; copy the whole index again"
                ) from None
        first = sum(rows[i] for i in range(chunk))
        return merged_path, _read_array(self._load, merged_path)[first : first + rows[chunk]]

    def _rebuild(self, codes: NDArray[Any], residuals: NDArray[np.uint8]) -> NDArray[np.float16]:
        # A bucket number was written with its lowest bit first, into bytes filled from the highest bit.
        bits = np.unpackbits(residuals, axis=1).reshape(len(codes), self.dim, self.nbits)
        buckets = np.packbits(bits, axis=2, bitorder="little")[:, :, 0]
        vectors = self._centroids[codes] + self._weights[buckets]
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        vectors /= np.maximum(norms, 1e-12)[:, None]
        half: NDArray[np.float16] = vectors.astype(np.float16)
        return half


def find_plaid(folder: str | Path) -> Path | None:
    """Return the folder with the index's files: `folder`, or the one inside PyLate's folder; None for other folders."""
    for candidate in (Path(folder), Path(folder) / _FAST_PLAID_FOLDER):
        if (candidate / "metadata.json").is_file() and any(
            (candidate / f"centroids{suffix}").is_file() for suffix in _SUFFIXES.values()
        ):
            return candidate
    return None


def read_plaid(folder: str | Path) -> PlaidIndex:
    """Read an index's metadata and codebook; `PlaidIndex.batches` reads the vectors, in bounded memory.

    Args:
        folder: a fast-plaid or Stanford ColBERT index, or PyLate's folder around one.

    Raises:
        InputFileError: the folder is not such an index, or a file is missing, damaged, or does not match the others.
    """
    root = find_plaid(folder)
    if root is None:
        raise InputFileError(
            f"{folder}: not a fast-plaid, PyLate or ColBERT index; name a folder with metadata.json and centroids"
        )
    kind: Literal["fast-plaid", "colbert"] = "fast-plaid" if (root / "centroids.npy").is_file() else "colbert"
    load = _load_npy if kind == "fast-plaid" else _load_pt
    centroids = _read_array(load, root / f"centroids{_SUFFIXES[kind]}").astype(np.float32)
    metadata_path = root / "metadata.json"
    metadata = _read_json(metadata_path)
    try:
        nbits = int(metadata["nbits"] if kind == "fast-plaid" else metadata["config"]["nbits"])
        chunks = int(metadata["num_chunks"])
    except (KeyError, TypeError, ValueError):
        raise InputFileError(f"{metadata_path}: lacks nbits or num_chunks; copy the whole index again") from None
    if centroids.ndim != 2 or nbits not in (1, 2, 4, 8) or centroids.shape[1] * nbits % 8:
        raise InputFileError(
            f"{metadata_path}: unsupported layout, got {nbits} bits with centroids of shape {centroids.shape}"
        )
    weights = _read_weights(root, kind, load).astype(np.float32)
    if weights.shape != (1 << nbits,):
        raise InputFileError(
            f"{root}: must have {1 << nbits} bucket weights for {nbits} bits, got {weights.size:,}; "
            "copy the whole index again"
        )
    lengths = [_read_lengths(root / f"doclens.{chunk}.json") for chunk in range(chunks)]
    return PlaidIndex(
        folder=root,
        kind=kind,
        dim=centroids.shape[1],
        nbits=nbits,
        ids=_read_ids(root, sum(map(len, lengths))),
        lengths=lengths,
        _centroids=centroids,
        _weights=weights,
        _load=load,
    )


class _PlainUnpickler(pickle.Unpickler):
    """A reader of containers, numbers and strings; it refuses every pickle that names a class or function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"only plain ids are read, got {module}.{name}")


def _read_ids(root: Path, documents: int) -> list[str]:
    """Read PyLate's ids, from the folder or the one around `fast_plaid_index`; return positions where it has none."""
    path = (root.parent if root.name == _FAST_PLAID_FOLDER else root) / _PYLATE_IDS_FILE
    old_path = path.with_suffix(".sqlite")
    if not path.is_file() and old_path.is_file():
        raise InputFileError(
            f"{old_path}: holds ids as PyLate before 1.4 wrote them; open the index once with a newer PyLate, or "
            "index again"
        )
    if not path.is_file():
        return [str(position) for position in range(documents)]
    try:
        with path.open("rb") as file:
            by_position = _PlainUnpickler(file).load()
        ids = [str(by_position[position]) for position in range(documents)]
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputFileError(
            f"{path}: cannot read an id for every document ({type(error).__name__}: {reason(error)}); copy the file "
            "again, or move it away to number the documents"
        ) from None
    unique: set[str] = set()
    for id_ in ids:
        if id_ in unique:
            raise InputFileError(f"{path}: duplicate id {shown_id(id_)}; remove it with PyLate and add it once")
        unique.add(id_)
    return ids


def _read_weights(root: Path, kind: str, load: Load) -> NDArray[Any]:
    if kind == "fast-plaid":
        return _read_array(load, root / "bucket_weights.npy")
    path = root / "buckets.pt"
    try:
        return _read_array(lambda path: load(path)[1], path)
    except (IndexError, TypeError):
        raise InputFileError(f"{path}: must hold cutoffs and weights; copy the file again") from None


def _read_lengths(path: Path) -> list[int]:
    lengths = _read_json(path)
    if not isinstance(lengths, list) or any(type(length) is not int or length < 0 for length in lengths):
        raise InputFileError(f"{path}: must be a list of token counts; copy the file again")
    return lengths


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputFileError(f"{path}: {error.strerror or reason(error)}; copy the whole index again") from None
    except ValueError as error:
        raise InputFileError(f"{path}: not valid JSON ({reason(error)}); copy the file again") from None


def _read_array(load: Load, path: Path) -> NDArray[Any]:
    """Read the array in a file.

    Raises:
        InputFileError: the file is missing or damaged.
    """
    try:
        return np.asarray(load(path))
    except OSError as error:
        raise InputFileError(f"{path}: {error.strerror or reason(error)}; copy the whole index again") from None
    except (ValueError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputFileError(f"{path}: cannot be read ({reason(error)}); copy the file again") from None


def _load_npy(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _load_pt(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise InputFileError(f"{path}: {missing_extra('reading a ColBERT index', 'torch')}") from None
    return torch.load(path, map_location="cpu", weights_only=True)
