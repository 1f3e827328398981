"""Index and search a million passages on one machine: build time, memory, latency, recall against exact MaxSim.

    python benchmarks/million.py CACHE WORK [--documents 1000000] [--queries 60]

CACHE is the folder into which `serotine bench index` encoded a collection; WORK receives the index. The passages are
synthesized from real ones: each joins two runs of 32 consecutive token vectors from two random passages of the
collection (the whole passage where it is shorter). Every token then moves halfway towards a random token of its
neighborhood, and is normalized again. A neighborhood is the tokens nearest to the same one of 8,192 random tokens:
mostly the same word in other passages. Queries are those of the collection. Everything is seeded; an interrupted run
resumes. Build time excludes the synthesis. Writes benchmarks/results/million.json.

Each of 61,402 passages is used about 33 times, so there are more near ties than in real text, not fewer. `score_share`
shows the cost of a miss: the mean exact score of the ten hits over that of the ten best.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Index, maxsim
from serotine.bench import PeakMemory, VectorCollection, describe_machine, load_vectors, recall, recall_error

RESULT = Path(__file__).parent / "results/million.json"
BATCH = 10_000
RUN, TOWARDS, NEIGHBORHOODS = 32, 0.5, 8192
EFFORTS: tuple[dict[str, Any], ...] = (
    {}, {"recall": 0.9}, {"recall": 0.95}, {"recall": 0.98}, {"candidates": 1024},
)  # fmt: skip


@dataclass(frozen=True)
class Synthesizer:
    """Synthesizes passages from a collection's tokens.

    Attributes:
        collection: the real passages.
        hood: the neighborhood of every token.
        members: the tokens, by neighborhood.
        starts: offset of each neighborhood in `members`.
    """

    collection: VectorCollection
    hood: NDArray[np.uint32]
    members: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, collection: VectorCollection, file: Path) -> Synthesizer:
        """Compute the neighborhoods, or read them from the cache `file`."""
        vectors = collection.vectors
        if not file.exists():
            sample = np.sort(np.random.default_rng(7).permutation(len(vectors))[:NEIGHBORHOODS])
            anchors = vectors[sample].astype(np.float32)
            hood = np.empty(len(vectors), dtype=np.uint32)
            for first in range(0, len(vectors), 100_000):
                block = vectors[first : first + 100_000].astype(np.float32)
                hood[first : first + len(block)] = (block @ anchors.T).argmax(axis=1)
                sys.stderr.write(f"neighborhoods: {first + len(block):,} of {len(vectors):,} tokens\n")
            np.save(file, hood)
        hood = np.load(file)
        starts = np.concatenate([[0], np.cumsum(np.bincount(hood, minlength=NEIGHBORHOODS))]).astype(np.int64)
        return cls(collection, hood, np.argsort(hood, kind="stable"), starts)

    def passages(self, number: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """Return the vectors and offsets of batch `number`."""
        rng = np.random.default_rng([7, number])
        offsets = self.collection.offsets
        base = rng.integers(0, self.collection.documents, 2 * BATCH)
        lengths = np.minimum(offsets[base + 1] - offsets[base], RUN)
        spare = offsets[base + 1] - offsets[base] - lengths + 1
        first = offsets[base] + (rng.random(base.size) * spare).astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(lengths.reshape(BATCH, 2).sum(axis=1))]).astype(np.int64)
        rows = np.concatenate([np.arange(a, a + n) for a, n in zip(first, lengths, strict=True)])
        lower, upper = self.starts[self.hood[rows]], self.starts[self.hood[rows] + 1]
        others = self.members[lower + (rng.random(rows.size) * (upper - lower)).astype(np.int64)]
        vectors = self.collection.vectors[rows].astype(np.float32)
        vectors += np.float32(TOWARDS) * (self.collection.vectors[others].astype(np.float32) - vectors)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float16), ends


def batches(synthesizer: Synthesizer, documents: int, index: Index, synthesis: list[float]) -> Iterator[dict[str, Any]]:
    """Yield batches for `Index.add_batches`, without those that the index has, and append each one's seconds."""
    indexed = len(index)
    for number in range(documents // BATCH):
        if (number + 1) * BATCH <= indexed:
            continue
        started = time.perf_counter()
        vectors, starts = synthesizer.passages(number)
        ids = [str(number * BATCH + i) for i in range(BATCH)]
        batch = {"ids": ids, "vectors": [vectors[starts[i] : starts[i + 1]] for i in range(BATCH)]}
        synthesis.append(time.perf_counter() - started)
        yield batch


def exact_scores(synthesizer: Synthesizer, documents: int, queries: int, file: Path) -> NDArray[np.float32]:
    """Return exact MaxSim of the first queries and all passages, float32 (queries, documents); cached in `file`."""
    if not file.exists():
        collection = synthesizer.collection
        padded = np.zeros((queries, 32, collection.vectors.shape[1]), dtype=np.float32)
        for i, query in enumerate(collection.queries[:queries]):
            # Query tokens of zeros add 0 to every score.
            padded[i, : len(query)] = query
        scores = np.empty((queries, documents), dtype=np.float32)
        for batch in range(documents // BATCH):
            vectors, starts = synthesizer.passages(batch)
            columns = slice(batch * BATCH, (batch + 1) * BATCH)
            scores[:, columns] = maxsim.score_contrastive(padded, vectors.astype(np.float32), starts)
            sys.stderr.write(f"exact scores: {batch + 1:,} batches\n")
        np.save(file, scores)
    return np.asarray(np.load(file), dtype=np.float32)


def main() -> None:
    """Build the index, search it and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--keep-vectors", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    collection = load_vectors(arguments.cache)
    synthesizer = Synthesizer.of(collection, arguments.work / "neighborhoods.npy")
    path = arguments.work / f"{arguments.documents}.serotine"
    log = arguments.work / f"{arguments.documents}.json"
    started = time.perf_counter()
    index = (
        Index.open(path)
        if path.exists()
        else Index.create(path, dim=collection.vectors.shape[1], keep_vectors=arguments.keep_vectors)
    )
    built = json.loads(log.read_text()) if log.exists() else {"sessions": []}
    if len(index) < arguments.documents:
        synthesis: list[float] = []
        with PeakMemory() as memory:
            stream = batches(synthesizer, arguments.documents, index, synthesis)
            index.add_batches(stream, expected_documents=arguments.documents, show_progress=True)
            index.compact()
        built["sessions"].append(
            {
                "seconds": time.perf_counter() - started - sum(synthesis),
                "synthesis_seconds": sum(synthesis),
                "peak_anonymous_bytes": memory.anonymous,
            }
        )
        log.write_text(json.dumps(built))
    scores = exact_scores(
        synthesizer, arguments.documents, arguments.queries, arguments.work / f"scores-{arguments.documents}.npy"
    )
    truth = np.argsort(-scores, axis=1, kind="stable")[:, :100].tolist()
    maxsim.set_num_threads(1)
    rows = []
    for k in (10, 100):
        for effort in EFFORTS:
            times, rankings, hits = [], [], None
            for warm in (True, False):
                for query in collection.queries[: arguments.queries]:
                    started = time.perf_counter()
                    hits = index.search(query, k=k, **effort)
                    if not warm:
                        times.append((time.perf_counter() - started) * 1e3)
                        rankings.append([int(hit.id) for hit in hits])
            rows.append(
                {
                    "k": k,
                    **effort,
                    "p50_ms": statistics.median(times),
                    "p95_ms": float(np.percentile(times, 95)),
                    "p99_ms": float(np.percentile(times, 99)),
                    "recall_at_10": recall(rankings, truth, 10),
                    "recall_at_100": recall(rankings, truth, 100) if k == 100 else None,
                    "recall_error": recall_error(rankings, truth, k),
                    "score_share": statistics.fmean(
                        float(row[ranking[:10]].sum() / row[best[:10]].sum())
                        for row, ranking, best in zip(scores, rankings, truth, strict=True)
                    ),
                    "min_hits": min(map(len, rankings)),
                    "last_ms": {} if hits is None else hits.stats.milliseconds,
                    "last_counts": {} if hits is None else hits.stats.counts,
                }
            )
            sys.stderr.write(f"{rows[-1]}\n")
    stats = index.stats()
    result = {
        "machine": describe_machine(["serotine", "numpy"]),
        "origin": {
            **collection.origin,
            "run_tokens": RUN,
            "runs": 2,
            "towards": TOWARDS,
            "neighborhoods": NEIGHBORHOODS,
        },
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
