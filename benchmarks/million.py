"""A million passages on one machine: building in bounded memory, searching, recall against exact MaxSim.

    python benchmarks/million.py CACHE WORK [--documents 1000000] [--queries 60]

CACHE is the folder that `serotine bench index` has encoded a collection into; WORK receives the index. There are not a
million real passages at hand, so they are made of real ones: each joins two runs of 32 consecutive token vectors, from
two random passages of the collection (all of a passage where it is shorter), and every token gets Gaussian noise of
expected norm 0.25 before it is normalised again. The questions are the collection's own. Everything is seeded, so
stopping and running again goes on where it was stopped. Writes benchmarks/results/million.json.

Each run of a passage occurs about a hundred times, with other noise: recall counts which of many near duplicates were
found, and is harder to get than on real text. `score_share` says what that costs: the mean exact score of the ten hits
over that of the ten best.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Index, maxsim
from serotine.bench.collection import Collection, load
from serotine.bench.index import recall
from serotine.bench.machine import describe

RESULT = Path(__file__).parent / "results/million.json"
BATCH = 10_000
RUN, NOISE = 32, 0.25
EFFORTS = (None, 128, 512, 1024, 2048)


def passages(collection: Collection, number: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Batch `number` of made passages: vectors and offsets."""
    rng = np.random.default_rng([7, number])
    offsets, dim = collection.offsets, collection.vectors.shape[1]
    base = rng.integers(0, collection.documents, 2 * BATCH)
    lengths = np.minimum(offsets[base + 1] - offsets[base], RUN)
    first = offsets[base] + (rng.random(base.size) * (offsets[base + 1] - offsets[base] - lengths + 1)).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths.reshape(BATCH, 2).sum(axis=1))]).astype(np.int64)
    rows = np.concatenate([np.arange(a, a + n) for a, n in zip(first, lengths, strict=True)])
    vectors = collection.vectors[rows].astype(np.float32)
    vectors += rng.standard_normal(vectors.shape, dtype=np.float32) * np.float32(NOISE / np.sqrt(dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16), starts


def batches(collection: Collection, documents: int, index: Index) -> Iterator[dict[str, Any]]:
    """What `Index.add_batches` takes; batches that are there already are passed over without being made."""
    done = len(index)
    for number in range(documents // BATCH):
        if (number + 1) * BATCH <= done:
            continue
        vectors, starts = passages(collection, number)
        ids = [str(number * BATCH + i) for i in range(BATCH)]
        yield {"ids": ids, "vectors": [vectors[starts[i] : starts[i + 1]] for i in range(BATCH)]}
        sys.stderr.write(f"{number + 1:,} batches, {index.stats().segments} segments\n")


def exact_scores(collection: Collection, documents: int, queries: int, file: Path) -> NDArray[np.float32]:
    """MaxSim of the first queries with every passage as it was added: float32 (queries, documents), kept in a file."""
    if not file.exists():
        padded = np.zeros((queries, 32, collection.vectors.shape[1]), dtype=np.float32)
        for i, query in enumerate(collection.queries[:queries]):
            # A query token of zeros adds the same nothing to every document.
            padded[i, : len(query)] = query
        scores = np.empty((queries, documents), dtype=np.float32)
        for batch in range(documents // BATCH):
            vectors, starts = passages(collection, batch)
            here = slice(batch * BATCH, (batch + 1) * BATCH)
            scores[:, here] = maxsim.score_contrastive(padded, vectors.astype(np.float32), starts)
            sys.stderr.write(f"truth: {batch + 1:,} batches\n")
        np.save(file, scores)
    return np.asarray(np.load(file), dtype=np.float32)


def main() -> None:
    """Builds, searches, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=60)
    given = parser.parse_args()
    collection = load(given.cache)
    path = given.work / f"{given.documents}.serotine"
    log = given.work / f"{given.documents}.json"
    started = time.perf_counter()
    index = (
        Index.open(path) if path.exists() else Index.create(path, dim=collection.vectors.shape[1], keep_vectors=False)
    )
    built = json.loads(log.read_text()) if log.exists() else {"sessions": []}
    if len(index) < given.documents:
        index.add_batches(batches(collection, given.documents, index), expected_documents=given.documents)
        index.compact()
        built["sessions"].append(
            {
                "seconds": time.perf_counter() - started,
                "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
        log.write_text(json.dumps(built))
    scores = exact_scores(collection, given.documents, given.queries, given.work / f"scores-{given.documents}.npy")
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :100].tolist()
    maxsim.set_num_threads(1)
    rows = []
    for k in (10, 100):
        for effort in EFFORTS:
            if effort is not None and effort < k:
                continue
            times, answers, hits = [], [], None
            for warm in (True, False):
                for query in collection.queries[: given.queries]:
                    began = time.perf_counter()
                    hits = index.search(query, k=k, candidates=effort)
                    if not warm:
                        times.append((time.perf_counter() - began) * 1e3)
                        answers.append([int(hit.id) for hit in hits])
            rows.append(
                {
                    "k": k,
                    "candidates": effort,
                    "p50_ms": statistics.median(times),
                    "p95_ms": float(np.percentile(times, 95)),
                    "recall_at_10": recall(answers, wanted, 10),
                    "recall_at_100": recall(answers, wanted, 100) if k == 100 else None,
                    "score_share": statistics.fmean(
                        float(row[found[:10]].sum() / row[best[:10]].sum())
                        for row, found, best in zip(scores, answers, wanted, strict=True)
                    ),
                    "fewest": min(map(len, answers)),
                    "last_ms": {} if hits is None else hits.stats.milliseconds,
                    "last_counts": {} if hits is None else hits.stats.counts,
                }
            )
            sys.stderr.write(f"{rows[-1]}\n")
    stats = index.stats()
    result = {
        "machine": describe(["serotine", "numpy"]),
        "made_of": {**collection.origin, "run_tokens": RUN, "runs": 2, "noise_norm": NOISE},
        "documents": stats.documents,
        "tokens": stats.tokens,
        "segments": stats.segments,
        "centroids": stats.centroids,
        "bytes_per_token": stats.bytes_per_token,
        "built": built,
        "searched": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
