"""A million passages on one machine: building in bounded memory, searching, recall against exact MaxSim.

    python benchmarks/million.py CACHE WORK [--documents 1000000] [--queries 60]

CACHE is the folder that `serotine bench index` has encoded a collection into; WORK receives the index. There are not a
million real passages at hand, so they are made of real ones: each joins two runs of 32 consecutive token vectors, from
two random passages of the collection (all of a passage where it is shorter), and every token goes half of the way
towards a random token of its own neighbourhood (the tokens nearest to the same one of 8,192 random tokens: mostly the
same word in another passage) before it is normalised again. The questions are the collection's own. Everything is
seeded, so stopping and running again goes on where it was stopped. Writes benchmarks/results/million.json.

With 61,402 passages each one is taken from about 33 times, so there are more near ties than in real text, not fewer.
`score_share` says what a miss costs: the mean exact score of the ten hits over that of the ten best.
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
from serotine.bench import PeakMemory, VectorCollection, describe_machine, load_vectors, recall

RESULT = Path(__file__).parent / "results/million.json"
BATCH = 10_000
RUN, TOWARDS, NEIGHBOURHOODS = 32, 0.5, 8192
EFFORTS = (None, 48, 192, 512, 1024)


@dataclass(frozen=True)
class Maker:
    """Makes passages of a collection's tokens.

    Attributes:
        collection: what they are made of.
        hood: the neighbourhood of every token.
        members: the tokens, by neighbourhood.
        starts: where the members of each neighbourhood begin.
    """

    collection: VectorCollection
    hood: NDArray[np.uint32]
    members: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, collection: VectorCollection, file: Path) -> Maker:
        """Find the neighborhoods, or read them from the file they were kept in."""
        vectors = collection.vectors
        if not file.exists():
            chosen = np.sort(np.random.default_rng(7).permutation(len(vectors))[:NEIGHBOURHOODS])
            anchors = vectors[chosen].astype(np.float32)
            hood = np.empty(len(vectors), dtype=np.uint32)
            for first in range(0, len(vectors), 100_000):
                part = vectors[first : first + 100_000].astype(np.float32)
                hood[first : first + len(part)] = (part @ anchors.T).argmax(axis=1)
                sys.stderr.write(f"neighbourhoods: {first + len(part):,} of {len(vectors):,} tokens\n")
            np.save(file, hood)
        hood = np.load(file)
        starts = np.concatenate([[0], np.cumsum(np.bincount(hood, minlength=NEIGHBOURHOODS))]).astype(np.int64)
        return cls(collection, hood, np.argsort(hood, kind="stable"), starts)

    def passages(self, number: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """Batch `number` of made passages: vectors and offsets."""
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


def batches(maker: Maker, documents: int, index: Index) -> Iterator[dict[str, Any]]:
    """What `Index.add_batches` takes; batches that are there already are passed over without being made."""
    done = len(index)
    for number in range(documents // BATCH):
        if (number + 1) * BATCH <= done:
            continue
        vectors, starts = maker.passages(number)
        ids = [str(number * BATCH + i) for i in range(BATCH)]
        yield {"ids": ids, "vectors": [vectors[starts[i] : starts[i + 1]] for i in range(BATCH)]}
        sys.stderr.write(f"{number + 1:,} batches, {index.stats().segments} segments\n")


def exact_scores(maker: Maker, documents: int, queries: int, file: Path) -> NDArray[np.float32]:
    """MaxSim of the first queries with every passage as it was added: float32 (queries, documents), kept in a file."""
    if not file.exists():
        collection = maker.collection
        padded = np.zeros((queries, 32, collection.vectors.shape[1]), dtype=np.float32)
        for i, query in enumerate(collection.queries[:queries]):
            # A query token of zeros adds the same nothing to every document.
            padded[i, : len(query)] = query
        scores = np.empty((queries, documents), dtype=np.float32)
        for batch in range(documents // BATCH):
            vectors, starts = maker.passages(batch)
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
    parser.add_argument("--keep-vectors", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    collection = load_vectors(given.cache)
    maker = Maker.of(collection, given.work / "neighbourhoods.npy")
    path = given.work / f"{given.documents}.serotine"
    log = given.work / f"{given.documents}.json"
    started = time.perf_counter()
    index = (
        Index.open(path)
        if path.exists()
        else Index.create(path, dim=collection.vectors.shape[1], keep_vectors=given.keep_vectors)
    )
    built = json.loads(log.read_text()) if log.exists() else {"sessions": []}
    if len(index) < given.documents:
        with PeakMemory() as watch:
            index.add_batches(batches(maker, given.documents, index), expected_documents=given.documents)
            index.compact()
        built["sessions"].append(
            {
                "seconds": time.perf_counter() - started,
                "peak_anonymous_bytes": watch.anonymous,
            }
        )
        log.write_text(json.dumps(built))
    scores = exact_scores(maker, given.documents, given.queries, given.work / f"scores-{given.documents}.npy")
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
        "machine": describe_machine(["serotine", "numpy"]),
        "made_of": {
            **collection.origin,
            "run_tokens": RUN,
            "runs": 2,
            "towards": TOWARDS,
            "neighbourhoods": NEIGHBOURHOODS,
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
