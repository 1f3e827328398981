"""Measure whether searches keep the recall they promise, with real queries that no calibration has seen.

    python benchmarks/recall.py FOLDER... [--queries N] [--out FILE]

Each FOLDER is KIND/COLLECTION with the token vectors of a collection, as `recall_vectors.py` writes them: vectors.npy,
offsets.npy and queries.npz. Folders that FILE has are not measured again. Every index is measured without a
calibration, with one from runs of its own tokens, and with one from half of the real queries; the other half, or all,
are then searched with recalls of 0.9 to 0.999, and compared with exact searches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Index, maxsim
from serotine.bench import describe_machine, load_vectors

PROMISED = (0.9, 0.95, 0.99, 0.999)
DEPTHS = (1, 10, 100)


def measure(
    index: Index, queries: Sequence[NDArray[np.float32]], exact: dict[int, list[set[str]]]
) -> list[dict[str, Any]]:
    """Return promised and measured recall, the effort, and what the engine expects of it."""
    rows = []
    threads = maxsim.num_threads()
    # So that all the processor time is this thread's.
    maxsim.set_num_threads(1)
    for depth in DEPTHS:
        for promised in PROMISED:
            started = time.thread_time()
            results = [index.search(query, depth, recall=promised) for query in queries]
            seconds = time.thread_time() - started
            shares = [
                len({hit.id for hit in hits} & truth) / len(truth)
                for hits, truth in zip(results, exact[depth], strict=True)
            ]
            stats = results[0].stats
            rows.append(
                {
                    "k": depth,
                    "promised": promised,
                    "measured": float(np.mean(shares)),
                    "standard_error": float(np.std(shares, ddof=1) / len(shares) ** 0.5),
                    "candidates": stats.candidates,
                    "expected": stats.expected_recall,
                    "lower_bound": stats.recall_lower_bound,
                    "processor_ms": seconds / len(queries) * 1e3,
                }
            )
    maxsim.set_num_threads(threads)
    return rows


def of_collection(folder: Path, count: int) -> dict[str, Any]:
    """Return the measurements of one collection."""
    collection = load_vectors(folder)
    queries = collection.queries[:count]
    calibrated: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as temporary,
        Index.create(Path(temporary) / "index", dim=collection.vectors.shape[1]) as index,
    ):
        documents = [collection.document(i) for i in range(collection.documents)]
        index.add(ids=[str(i) for i in range(len(documents))], vectors=documents)
        exact = {
            depth: [{hit.id for hit in index.search(query, depth, exact=True)} for query in queries] for depth in DEPTHS
        }
        calibrated["none"] = measure(index, queries, exact)
        print(folder, index.tune().statement, flush=True)
        calibrated["tokens"] = measure(index, queries, exact)
        half = queries[::2]
        print(folder, index.tune(half).statement, flush=True)
        held_out = {depth: truths[1::2] for depth, truths in exact.items()}
        calibrated["given"] = measure(index, queries[1::2], held_out)
        stats = index.stats()
    return {
        "vectors": folder.parent.name,
        "collection": folder.name,
        "documents": stats.documents,
        "tokens": stats.tokens,
        "dim": stats.dim,
        "queries": len(queries),
        "calibrated": calibrated,
    }


def main() -> int:
    """Measure every collection; print a table, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text())["collections"] if arguments.out and arguments.out.is_file() else []
    measured = {(result["vectors"], result["collection"]) for result in results}
    for folder in arguments.folders:
        if (folder.parent.name, folder.name) in measured:
            continue
        result = of_collection(folder, arguments.queries)
        results.append(result)
        for origin, rows in result["calibrated"].items():
            for row in rows:
                print(
                    f"{folder.parent.name:14} {folder.name:12} {origin:7} k={row['k']:<3} "
                    f"promised {row['promised']:.3f} "
                    f"measured {row['measured']:.4f} ± {row['standard_error']:.4f}, {row['candidates']} candidates, "
                    f"{row['processor_ms']:.1f} ms",
                    flush=True,
                )
        if arguments.out:
            arguments.out.write_text(
                json.dumps({"machine": describe_machine(["serotine", "numpy"]), "collections": results}, indent=1)
                + "\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
