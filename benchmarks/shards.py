"""Simulate searches of 10, 100 and 1,000 shards from measured service times, merged by the code that merges shards.

    python benchmarks/shards.py FOLDER [--queries 1000] [--out FILE]

FOLDER has the token vectors of a collection, as `serotine bench index` or `recall_vectors.py` writes them. Its first
1,000 documents are spread over four shards. Each of 100 queries searches each of them four times, by one thread; the
processor time is its service time, so that other programs on the machine are not in it. A simulated shard draws one of
the times that the same query took: a query that is slow on one shard is slow on all. Merging is timed on hits drawn
likewise, and added.

Queries arrive at random. A replica answers one request at a time, first come first served. With two replicas, a shard's
requests go to either at random; with hedging, a request unanswered after the time that 19 of 20 take is sent to the
other replica too, and the first answer counts. Nothing is cancelled. The network takes no time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Index, maxsim
from serotine.bench import VectorCollection, describe_machine, load_vectors
from serotine.index.search.plan import Ranking
from serotine.index.search.shards import merge_late

RESULT = Path(__file__).parent / "results/shards.json"
MEASURED_SHARDS, REPETITIONS, K = 4, 4, 10
# Of the collection, the first.
DOCUMENTS, QUERIES = 1000, 100
SHARDS = (10, 100, 1000)
# Of one replica, by all requests; two replicas share them.
UTILIZATION = 0.2
SLOW_FACTOR, STALL_SHARE, STALL_FACTOR = 4.0, 0.001, 20.0
MERGES = 60


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """What searches of one shard took.

    Attributes:
        milliseconds: (queries, samples).
        scores: of the hits of every query and sample, best first.
    """

    milliseconds: NDArray[np.float64]
    scores: list[list[list[float]]]


@dataclass(frozen=True, slots=True)
class Condition:
    """What is unlike the measurement.

    Attributes:
        name: for the page.
        slow_factor: times as long as measured that the first replica of the first shard takes.
        stall_share: share of requests that stall.
        stall_factor: times as long as measured that a stalled request takes.
    """

    name: str
    slow_factor: float = 1.0
    stall_share: float = 0.0
    stall_factor: float = 1.0


CONDITIONS = (
    Condition("as measured"),
    Condition("one machine is four times slower", slow_factor=SLOW_FACTOR),
    Condition(
        "one request in 1,000 takes 20 times as long (assumed)", stall_share=STALL_SHARE, stall_factor=STALL_FACTOR
    ),
)


@dataclass(frozen=True, slots=True)
class Responses:
    """Simulated responses.

    Attributes:
        milliseconds: (queries, shards), from a query's arrival.
        second_requests: share of requests that were sent to a second replica.
    """

    milliseconds: NDArray[np.float64]
    second_requests: float


def measure(collection: VectorCollection, folder: Path) -> ServiceTimes:
    """Spread a collection over shards, and search each of them with every query."""
    threads = maxsim.num_threads()
    queries = collection.queries[:QUERIES]
    documents = min(collection.documents, DOCUMENTS)
    milliseconds: list[list[float]] = [[] for _ in queries]
    scores: list[list[list[float]]] = [[] for _ in queries]
    for shard in range(MEASURED_SHARDS):
        numbers = range(shard, documents, MEASURED_SHARDS)
        with Index.create(folder / f"{shard}", dim=collection.vectors.shape[1], nbits=2) as index:
            index.add(
                ids=[str(number) for number in numbers],
                vectors=[collection.document(number) for number in numbers],
            )
            index.compact()
            maxsim.set_num_threads(1)
            for query in queries[:20]:
                index.search(query, K)
            for _ in range(REPETITIONS):
                for number, query in enumerate(queries):
                    started = time.thread_time()
                    hits = index.search(query, K)
                    milliseconds[number].append((time.thread_time() - started) * 1e3)
                    scores[number].append([hit.score for hit in hits])
            maxsim.set_num_threads(threads)
        print(f"shard {shard} measured", flush=True)
    return ServiceTimes(np.array(milliseconds), scores)


def simulate(
    times: NDArray[np.float64],
    shards: int,
    replicas: int,
    hedge_after: float | None,
    condition: Condition,
    queries: int,
    seed: int = 0,
) -> Responses:
    """Simulate queries that all shards answer.

    Args:
        times: service times, (queries, samples), in milliseconds.
        shards: number of shards.
        replicas: of every shard.
        hedge_after: milliseconds after which a second replica is asked; None: never.
        condition: what is unlike the measurement.
        queries: number of queries.
        seed: of everything drawn.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(times.mean() / UTILIZATION, queries))
    drawn = rng.integers(len(times), size=queries)
    every = np.arange(shards)
    free = np.zeros((replicas, shards))
    finished = np.empty((queries, shards))
    asked = np.empty((queries, shards), np.int64)
    second_requests = 0

    def send(query: int, to: NDArray[np.int64], of: NDArray[np.int64], at: float) -> NDArray[np.float64]:
        service = times[drawn[query], rng.integers(times.shape[1], size=of.size)]
        service[rng.random(of.size) < condition.stall_share] *= condition.stall_factor
        service[(of == 0) & (to == 0)] *= condition.slow_factor
        done: NDArray[np.float64] = np.maximum(free[to, of], at) + service
        free[to, of] = done
        return done

    events = [(float(at), query, False) for query, at in enumerate(arrivals)]
    if hedge_after is not None:
        events += [(at + hedge_after, query, True) for at, query, _ in events]
    for at, query, is_hedge in sorted(events):
        if not is_hedge:
            asked[query] = rng.integers(replicas, size=shards)
            finished[query] = send(query, asked[query], every, at)
            continue
        late = every[finished[query] > at]
        second_requests += late.size
        second = send(query, (asked[query, late] + 1) % replicas, late, at)
        finished[query, late] = np.minimum(finished[query, late], second)
    return Responses(finished - arrivals[:, None], second_requests / finished.size)


def merge_times(scores: Sequence[Sequence[Sequence[float]]], shards: int, seed: int = 0) -> list[float]:
    """Return the processor milliseconds of merges of so many shards' drawn hits."""
    rng = np.random.default_rng(seed)
    spent = []
    for _ in range(MERGES):
        of_query = scores[int(rng.integers(len(scores)))]
        rankings = {
            shard: Ranking(list(hits), list(range(len(hits))), "", {"allowed": len(hits)}, 0, {}, None)
            for shard in range(shards)
            for hits in [of_query[int(rng.integers(len(of_query)))]]
        }
        started = time.thread_time()
        merge_late(rankings, K, has_vectors=True, partial=None)
        spent.append((time.thread_time() - started) * 1e3)
    return spent


def _rows(times: NDArray[np.float64], shards: int, merges: Sequence[float], queries: int) -> list[dict[str, Any]]:
    rows = []
    for condition in CONDITIONS:
        for replicas, is_hedged in ((1, False), (2, False), (2, True)):
            responses = simulate(times, shards, replicas, None, condition, queries)
            if is_hedged:
                hedge_after = float(np.percentile(responses.milliseconds, 95))
                responses = simulate(times, shards, replicas, hedge_after, condition, queries)
            latency = responses.milliseconds.max(axis=1) + np.random.default_rng(1).choice(merges, queries)
            rows.append(
                {
                    "shards": shards,
                    "condition": condition.name,
                    "replicas": replicas,
                    "hedged": is_hedged,
                    **_percentiles(latency),
                    "second_requests": responses.second_requests,
                }
            )
    return rows


def _fan_out(times: NDArray[np.float64], shards: int, queries: int = 5000) -> dict[str, Any]:
    """Return the slowest of so many shards without waiting, as a multiple of the mean service time."""
    rng = np.random.default_rng(2)
    slowest = [
        times[query, rng.integers(times.shape[1], size=shards)].max() / times.mean()
        for query in rng.integers(len(times), size=queries)
    ]
    return {"shards": shards, "p50": float(np.percentile(slowest, 50)), "p99": float(np.percentile(slowest, 99))}


def _percentiles(milliseconds: Any) -> dict[str, float]:
    return {"p50_ms": float(np.percentile(milliseconds, 50)), "p99_ms": float(np.percentile(milliseconds, 99))}


def main() -> None:
    """Measure, simulate and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    collection = load_vectors(options.folder)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(collection, Path(folder))
    times = measured.milliseconds
    result: dict[str, Any] = {
        "machine": describe_machine(["serotine", "numpy"]),
        "load_average_before": load,
        "collection": {
            "name": options.folder.name,
            "documents": min(collection.documents, DOCUMENTS),
            "tokens": int(collection.offsets[min(collection.documents, DOCUMENTS)]),
            "dim": collection.vectors.shape[1],
            "queries": len(times),
            "shards": MEASURED_SHARDS,
        },
        "service": {"samples": times.size, "mean_ms": times.mean(), **_percentiles(times), "max_ms": times.max()},
        "fan_out": [_fan_out(times, shards) for shards in (1, *SHARDS)],
        "utilization": UTILIZATION,
        "merge": [],
        "rows": [],
    }
    for shards in SHARDS:
        merges = merge_times(measured.scores, shards)
        result["merge"].append({"shards": shards, **_percentiles(merges)})
        result["rows"] += _rows(times, shards, merges, options.queries)
        print(*result["rows"][-9:], sep="\n", flush=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
