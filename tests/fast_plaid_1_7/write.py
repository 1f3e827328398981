"""Writes what lies beside it, with the real library, in an environment of its own: fast-plaid==1.7.0.2110, torch 2.11.

Three chunks are made, documents added, some deleted, and five questions asked. Files that only a search by fast-plaid
itself needs are left out.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
DELETED = (3, 17, 45)
KEPT = ("metadata.json", "centroids.npy", "bucket_weights.npy", "doclens.", "merged_")


def documents(rng: np.random.Generator, centres: np.ndarray[Any, Any], count: int) -> list[np.ndarray[Any, Any]]:
    out = []
    for _ in range(count):
        rows = centres[rng.integers(0, 24, int(rng.integers(2, 9)))]
        rows = rows + 0.3 * rng.standard_normal(rows.shape)
        out.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16))
    return out


def main() -> None:
    import torch
    from fast_plaid import search

    rng = np.random.default_rng(8)
    centres = rng.standard_normal((24, 16))
    first, later, queries = (documents(rng, centres, count) for count in (40, 12, 5))
    with tempfile.TemporaryDirectory() as folder:
        index = search.FastPlaid(index=folder, device="cpu")
        index.create([torch.from_numpy(d) for d in first], nbits=4, seed=42, batch_size=16, start_from_scratch=0)
        index.update([torch.from_numpy(d) for d in later], start_from_scratch=0)
        index.delete(subset=list(DELETED))
        found = []
        for query in queries:
            asked = torch.from_numpy(query.astype(np.float32))[None]
            (hits,) = index.search(queries_embeddings=asked, top_k=5, n_ivf_probe=64)
            found.append([[number, round(score, 6)] for number, score in hits])
        (HERE / "index").mkdir(exist_ok=True)
        for file in Path(folder).iterdir():
            if file.name.startswith(KEPT):
                (HERE / "index" / file.name).write_bytes(file.read_bytes())
    kept = [document for i, document in enumerate(first + later) if i not in DELETED]
    np.savez_compressed(
        HERE / "vectors.npz",
        documents=np.concatenate(kept),
        lengths=np.array([len(document) for document in kept]),
        queries=np.concatenate(queries),
        query_lengths=np.array([len(query) for query in queries]),
    )
    told = {"fast-plaid": version("fast-plaid"), "torch": torch.__version__, "found": found}
    (HERE / "found.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
