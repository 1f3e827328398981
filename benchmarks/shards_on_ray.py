"""Compare searches of a sharded index on Ray with those of one index in this process, in one interleaved run.

    python benchmarks/shards_on_ray.py COLLECTION [--shards 1 4] [--rounds 5] [--seconds 10] [--out FILE]

COLLECTION is a folder or name as `serotine eval` takes it. Its documents are added to one index, and built into sharded
indexes, on a Ray cluster that is started on this machine. Queries are encoded once, before. A round asks every system
for all queries, one after the other, and notes each latency; then clients ask it at the same time for some seconds.
All systems search exactly, and their hits are compared. With one shard, what Ray adds is the difference of the
latencies: one request to a process, its arguments and its answer. `call` is a request that does nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Index
from serotine.bench import describe_machine
from serotine.distributed import ShardedIndex, build, owner
from serotine.evaluation import find_sources

RESULT = Path(__file__).parent / "results/shards_on_ray.json"
K, CLIENTS, CALLS = 10, 4, 200
Searched = Index | ShardedIndex
Vectors = NDArray[np.float32]


def latencies(index: Searched, queries: Sequence[Vectors]) -> list[float]:
    """Return the milliseconds of every query, one after the other."""
    spent = []
    for query in queries:
        started = time.perf_counter()
        index.search(query, K, exact=True)
        spent.append((time.perf_counter() - started) * 1e3)
    return spent


def throughput(index: Searched, queries: Sequence[Vectors], seconds: float) -> float:
    """Return the queries per second that several clients get answered."""
    counts = [0] * CLIENTS
    end = time.perf_counter() + seconds

    def ask(client: int) -> None:
        for query in itertools.cycle(queries[client:]):
            index.search(query, K, exact=True)
            counts[client] += 1
            if time.perf_counter() >= end:
                return

    started = time.perf_counter()
    clients = [threading.Thread(target=ask, args=(client,)) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sum(counts) / (time.perf_counter() - started)


def calls(index: ShardedIndex) -> list[float]:
    """Return the milliseconds of requests to all shards that do nothing."""
    spent = []
    for _ in range(CALLS):
        started = time.perf_counter()
        len(index)
        spent.append((time.perf_counter() - started) * 1e3)
    return spent


def differing(index: Searched, expected: Sequence[Any], queries: Sequence[Vectors]) -> int:
    """Return the number of queries whose hits are not the expected ids and scores."""
    hits = [[(hit.id, hit.score) for hit in index.search(query, K, exact=True)] for query in queries]
    return sum(sorted(one) != sorted(other) for one, other in zip(hits, expected, strict=True))


def _open(documents: dict[str, str], folder: Path, shards: Sequence[int], stack: ExitStack) -> Iterator[Any]:
    """Yield every system with its name: the index in this process first."""
    corpus = folder / "corpus.jsonl"
    corpus.write_text(
        "".join(json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in documents.items()), "utf-8"
    )
    one = stack.enter_context(Index.create(folder / "one", encoder="mini"))
    ids = sorted(documents, key=lambda id_: owner(id_, max(shards)))
    one.add(ids, [documents[id_] for id_ in ids], long_texts="split")
    one.compact()
    yield "one process", one
    for count in shards:
        url = str(folder / f"shards-{count}")
        build(corpus, url, shards=count, encoder="mini")
        yield f"{count} on Ray", stack.enter_context(ShardedIndex.open(url, cpus=0.1, deadline=120.0))


def _percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    return {"p50_ms": float(np.percentile(milliseconds, 50)), "p99_ms": float(np.percentile(milliseconds, 99))}


def main() -> None:
    """Build, compare and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("collection")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    collection = find_sources(options.collection)[0].load()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        os.environ["SEROTINE_SHARDS"] = f"{temporary}/cache"
        # `build` refuses a document without a text.
        documents = {id_: text for id_, text in collection.documents.items() if text.strip()}
        systems = dict(_open(documents, Path(temporary), options.shards, stack))
        one = systems["one process"]
        queries = one.encoder.encode_queries(list(collection.queries.values())[: options.queries])
        expected = [[(hit.id, hit.score) for hit in one.search(query, K, exact=True)] for query in queries]
        different = {name: differing(index, expected, queries) for name, index in systems.items()}
        spent: dict[str, list[float]] = {name: [] for name in systems}
        rates: dict[str, list[float]] = {name: [] for name in systems}
        for number in range(options.rounds):
            for name, index in systems.items():
                spent[name] += latencies(index, queries)
                rates[name].append(throughput(index, queries, options.seconds))
            print(f"round {number + 1}: {', '.join(f'{name} {rate[-1]:.0f}/s' for name, rate in rates.items())}")
        result: dict[str, Any] = {
            "machine": describe_machine(["serotine", "numpy", "ray"]),
            "load_average_before": load,
            "collection": {"name": options.collection, "documents": len(one), "queries": len(queries), "k": K},
            "clients": CLIENTS,
            "systems": [
                {
                    "name": name,
                    **_percentiles(spent[name]),
                    "queries_per_second": float(np.median(rates[name])),
                    "different_hits": different[name],
                    "call": _percentiles(calls(index)) if isinstance(index, ShardedIndex) else None,
                }
                for name, index in systems.items()
            ],
        }
    print(*result["systems"], sep="\n")
    options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
