"""Make the token vectors that `recall.py` measures: one encoder, several collections, several projections.

    python benchmarks/recall_vectors.py OUT KIND ENCODER COLLECTION... [--pca DIM...] [--random DIM...]

COLLECTION is a folder in BEIR's layout, or a file of passages; a file needs `--queries-file`. Folders
OUT/KIND/COLLECTION hold the encoder's own vectors; OUT/KIND-pca48/COLLECTION their first 48 principal directions,
OUT/KIND-random48/COLLECTION 48 random directions, in which the neighbors of a token are partly chance: hard for
centroids.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.bench import VectorCollection, prepare_vectors
from serotine.bench.vectors import sampled_directions, save_projected


def write_projected(collection: VectorCollection, directions: NDArray[np.float32], folder: Path) -> None:
    """Write the collection in another basis, unless an earlier run did."""
    if not (folder / "origin.json").exists():
        save_projected(folder, replace(collection, origin={**collection.origin, "dim": len(directions)}), directions)


def main() -> int:
    """Encode every collection, or load what an earlier run wrote, and project it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("kind")
    parser.add_argument("encoder")
    parser.add_argument("collections", type=Path, nargs="+", metavar="COLLECTION")
    parser.add_argument("--queries-file", type=Path, help="of collections that are one file")
    parser.add_argument("--documents", type=int, default=20_000, help="at most these of a collection")
    parser.add_argument("--pca", type=int, nargs="*", default=[], metavar="DIM")
    parser.add_argument("--random", type=int, nargs="*", default=[], metavar="DIM")
    arguments = parser.parse_args()
    for path in arguments.collections:
        name = path.name.split(".")[0]
        passages, queries = (
            (path / "corpus.jsonl.gz", path / "queries.jsonl.gz") if path.is_dir() else (path, arguments.queries_file)
        )
        if queries is None:
            parser.error(f"{path} is a file of passages; give --queries-file")
        own = arguments.out / arguments.kind / name
        collection = prepare_vectors(
            own, passages, queries, documents=arguments.documents, dim=sys.maxsize, encoder=arguments.encoder
        )
        for dim in arguments.pca:
            directions = sampled_directions(collection.vectors, dim)
            if directions is None:
                parser.error(f"--pca {dim}: vectors of {path} have only {collection.vectors.shape[1]} dimensions")
            write_projected(collection, directions, arguments.out / f"{arguments.kind}-pca{dim}" / name)
        for dim in arguments.random:
            rng = np.random.default_rng(dim)
            drawn = rng.standard_normal((dim, collection.vectors.shape[1]), dtype=np.float32)
            write_projected(collection, drawn, arguments.out / f"{arguments.kind}-random{dim}" / name)
        print(f"{own}: {collection.documents} documents, {len(collection.vectors)} tokens", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
