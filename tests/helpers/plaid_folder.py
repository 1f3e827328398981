"""Indexes in the on-disk layouts of fast-plaid 1.x and Stanford's ColBERT 0.2, written from their public description.

The quantization is plain NumPy: every token is assigned to its nearest centroid, and each dimension of its residual to
one of 2^nbits buckets whose limits and weights are quantiles.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Quantized:
    """A quantized collection."""

    centroids: NDArray[np.float16]
    cutoffs: NDArray[np.float32]
    weights: NDArray[np.float32]
    codes: NDArray[np.int64]
    buckets: NDArray[np.int64]
    lengths: list[int]
    nbits: int

    @property
    def expected(self) -> list[NDArray[np.float32]]:
        """The vectors that a reader must return: float32 (tokens, dim) per document, computed bucket by bucket."""
        rows = self.centroids.astype(np.float32)[self.codes] + self.weights[self.buckets]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return np.split(rows, np.cumsum(self.lengths)[:-1])

    def packed(self) -> NDArray[np.uint8]:
        """Return bucket numbers as both libraries write them: lowest bit first, bytes filled from the highest bit."""
        return np.array(
            [
                [
                    int("".join(bits[start : start + 8]), 2)
                    for bits in ["".join(f"{bucket:0{self.nbits}b}"[::-1] for bucket in row)]
                    for start in range(0, len(bits), 8)
                ]
                for row in self.buckets.tolist()
            ],
            dtype=np.uint8,
        ).reshape(len(self.buckets), -1)


def quantize(documents: Sequence[NDArray[np.float32]], nbits: int, centroids: int = 24) -> Quantized:
    tokens = np.concatenate(documents)
    rows = tokens[np.random.default_rng(0).permutation(len(tokens))[:centroids]].astype(np.float16)
    codes = np.argmax(tokens @ rows.astype(np.float32).T, axis=1)
    residuals = tokens - rows.astype(np.float32)[codes]
    count = 1 << nbits
    cutoffs = np.quantile(residuals, np.arange(1, count) / count).astype(np.float32)
    weights = np.quantile(residuals, (np.arange(count) + 0.5) / count).astype(np.float32)
    buckets = np.searchsorted(cutoffs, residuals)
    return Quantized(rows, cutoffs, weights, codes, buckets, [len(document) for document in documents], nbits)


def write_fast_plaid(folder: Path, data: Quantized, chunk: int) -> None:
    """Write .npy files, `chunk` documents per chunk; weights are float32 and centroids float16, as in the library."""
    folder.mkdir(parents=True)
    np.save(folder / "centroids.npy", data.centroids)
    np.save(folder / "bucket_cutoffs.npy", data.cutoffs)
    np.save(folder / "bucket_weights.npy", data.weights)
    np.save(folder / "avg_residual.npy", np.zeros(data.centroids.shape[1], dtype=np.float16))
    chunks = _split_chunks(data, chunk)
    for i, (lengths, tokens) in enumerate(chunks):
        np.save(folder / f"{i}.codes.npy", data.codes[tokens])
        np.save(folder / f"{i}.residuals.npy", data.packed()[tokens])
        _write_json(folder / f"doclens.{i}.json", lengths)
        _write_json(folder / f"{i}.metadata.json", {"num_documents": len(lengths), "num_embeddings": sum(lengths)})
    _write_json(
        folder / "metadata.json",
        {
            "num_chunks": len(chunks),
            "nbits": data.nbits,
            "num_partitions": len(data.centroids),
            "num_embeddings": sum(data.lengths),
            "avg_doclen": sum(data.lengths) / len(data.lengths),
            "num_documents": len(data.lengths),
        },
    )


def write_colbert(folder: Path, data: Quantized, chunk: int) -> None:
    """Write .pt files with torch."""
    import torch

    folder.mkdir(parents=True)
    torch.save(torch.from_numpy(data.centroids), folder / "centroids.pt")
    torch.save((torch.from_numpy(data.cutoffs), torch.from_numpy(data.weights)), folder / "buckets.pt")
    torch.save(torch.tensor([0.01]), folder / "avg_residual.pt")
    chunks = _split_chunks(data, chunk)
    for i, (lengths, tokens) in enumerate(chunks):
        torch.save(torch.from_numpy(data.codes[tokens]).to(torch.int32), folder / f"{i}.codes.pt")
        torch.save(torch.from_numpy(data.packed()[tokens]), folder / f"{i}.residuals.pt")
        _write_json(folder / f"doclens.{i}.json", lengths)
        _write_json(folder / f"{i}.metadata.json", {"passage_offset": i * chunk, "num_passages": len(lengths)})
    config = {"dim": data.centroids.shape[1], "nbits": data.nbits}
    _write_json(
        folder / "metadata.json", {"config": config, "num_chunks": len(chunks), "num_embeddings": sum(data.lengths)}
    )


def write_pylate(folder: Path, data: Quantized, ids: Sequence[Any], chunk: int) -> None:
    """Write PyLate's folder: fast-plaid's inside it, and two pickled dicts next to that."""
    write_fast_plaid(folder / "fast_plaid_index", data, chunk)
    with (folder / "plaid_ids_to_documents_ids.pkl").open("wb") as file:
        pickle.dump(dict(enumerate(ids)), file)
    with (folder / "documents_ids_to_plaid_ids.pkl").open("wb") as file:
        pickle.dump({id_: i for i, id_ in enumerate(ids)}, file)


def _split_chunks(data: Quantized, chunk: int) -> list[tuple[list[int], slice]]:
    ends = np.cumsum([0, *data.lengths])
    return [
        (data.lengths[i : i + chunk], slice(int(ends[i]), int(ends[min(i + chunk, len(data.lengths))])))
        for i in range(0, len(data.lengths), chunk)
    ]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
