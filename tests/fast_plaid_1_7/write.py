"""Write the files in this folder with the real library, in its own environment: fast-plaid==1.7.0.2110, torch 2.11.

The script writes three chunks, adds documents, deletes some, and runs five queries. It does not copy the files that
only fast-plaid's own search needs.
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
COPIED_FILES = ("metadata.json", "centroids.npy", "bucket_weights.npy", "doclens.", "merged_")


def documents(rng: np.random.Generator, centers: np.ndarray[Any, Any], count: int) -> list[np.ndarray[Any, Any]]:
    drawn = []
    for _ in range(count):
        rows = centers[rng.integers(0, 24, int(rng.integers(2, 9)))]
        rows = rows + 0.3 * rng.standard_normal(rows.shape)
        drawn.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16))
    return drawn


def main() -> None:
    import torch
    from fast_plaid import search

    rng = np.random.default_rng(8)
    centers = rng.standard_normal((24, 16))
    initial, added, queries = (documents(rng, centers, count) for count in (40, 12, 5))
    with tempfile.TemporaryDirectory() as folder:
        index = search.FastPlaid(index=folder, device="cpu")
        index.create([torch.from_numpy(d) for d in initial], nbits=4, seed=42, batch_size=16, start_from_scratch=0)
        index.update([torch.from_numpy(d) for d in added], start_from_scratch=0)
        index.delete(subset=list(DELETED))
        results = []
        for query in queries:
            batch = torch.from_numpy(query.astype(np.float32))[None]
            (hits,) = index.search(queries_embeddings=batch, top_k=5, n_ivf_probe=64)
            results.append([[number, round(score, 6)] for number, score in hits])
        (HERE / "index").mkdir(exist_ok=True)
        for file in Path(folder).iterdir():
            if file.name.startswith(COPIED_FILES):
                (HERE / "index" / file.name).write_bytes(file.read_bytes())
    live = [document for i, document in enumerate(initial + added) if i not in DELETED]
    np.savez_compressed(
        HERE / "vectors.npz",
        documents=np.concatenate(live),
        lengths=np.array([len(document) for document in live]),
        queries=np.concatenate(queries),
        query_lengths=np.array([len(query) for query in queries]),
    )
    report = {"fast-plaid": version("fast-plaid"), "torch": torch.__version__, "hits": results}
    (HERE / "results.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
