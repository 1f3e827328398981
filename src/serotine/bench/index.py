"""Index profiles side by side: the cost of building, the cost of searching, and recall against exact MaxSim."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.bench.memory import PeakMemory
from serotine.bench.vectors import DEPTH, VectorCollection
from serotine.index import Index

# Arguments of `Index.create`, by the profile's name in tables.
INDEX_PROFILES: dict[str, dict[str, Any]] = {
    "4 bits": {"nbits": 4},
    "2 bits": {"nbits": 2},
    "8 bits": {"nbits": 8},
    "4 bits, codes only": {"nbits": 4, "keep_vectors": False},
    "2 bits, codes only": {"nbits": 2, "keep_vectors": False},
    "8 bits, codes only": {"nbits": 8, "keep_vectors": False},
}
# Documents scored over their codes, for the Pareto chart; None is the default.
CANDIDATES: tuple[int | None, ...] = (None, 24, 48, 128, 256, 512)
# Recalls asked for beside the default of 0.99.
RECALLS = (0.9, 0.95, 0.98, 0.999)
# Two-sided 95%.
_TWO_SIDED_Z = 1.96
# Values of the field that filters select one and ten percent of.
_BUCKETS = 100


@dataclass(slots=True)
class BuildMeasurement:
    """Cost of building one index.

    Attributes:
        engine: name of the profile.
        build_seconds: wall time on all threads, without encoding.
        build_peak_bytes: peak resident memory above the input.
        disk_bytes: size of all files.
        bytes_per_token: size of what a search reads before exact rescoring.
    """

    engine: str
    build_seconds: float
    build_peak_bytes: int
    disk_bytes: int
    bytes_per_token: float


@dataclass(slots=True)
class SearchMeasurement:
    """Cost and recall of one way to search.

    Attributes:
        engine: name of the profile.
        setting: description of the search options.
        k: hits requested.
        p50_ms: median over queries, on one thread, without encoding the query.
        p95_ms: 95th percentile.
        recall_at_10: share of the exact ten best among the first ten hits.
        recall_at_100: share of the exact hundred best among all hits; None where k is below 100.
        p99_ms: 99th percentile.
        recall_error: half of the 95% interval of the recall at k, by the spread between queries.
        min_hits: smallest number of hits of a query.
        plan: the plan of the search.
        notes: further figures, by name.
    """

    engine: str
    setting: str
    k: int
    p50_ms: float
    p95_ms: float
    recall_at_10: float
    recall_at_100: float | None
    p99_ms: float
    recall_error: float
    min_hits: int
    plan: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


Search = Callable[[NDArray[np.float32]], Sequence[int]]


def measure(
    queries: Sequence[NDArray[np.float32]],
    truth: Sequence[Sequence[int]],
    contenders: Mapping[str, tuple[int, Search]],
    rounds: int,
) -> Iterator[tuple[str, SearchMeasurement]]:
    """Time every contender, (k, search), on every query, one after the other in every round."""
    milliseconds: dict[str, list[float]] = {name: [] for name in contenders}
    rankings: dict[str, list[Sequence[int]]] = {}
    for round_ in range(rounds + 1):
        for name, (_, run_search) in contenders.items():
            rankings[name] = []
            # Round 0 only warms up, on a few queries.
            for query in queries if round_ else queries[:10]:
                started = time.perf_counter()
                rankings[name].append(run_search(query))
                if round_:
                    milliseconds[name].append((time.perf_counter() - started) * 1e3)
    for name, (k, _) in contenders.items():
        times = milliseconds[name]
        yield (
            name,
            SearchMeasurement(
                engine="",
                setting=name,
                k=k,
                p50_ms=statistics.median(times),
                p95_ms=float(np.percentile(times, 95)),
                recall_at_10=recall(rankings[name], truth, 10),
                recall_at_100=recall(rankings[name], truth, DEPTH) if k >= DEPTH else None,
                p99_ms=float(np.percentile(times, 99)),
                recall_error=recall_error(rankings[name], truth, min(k, DEPTH)),
                min_hits=min(map(len, rankings[name])),
            ),
        )


def recall(rankings: Sequence[Sequence[int]], truth: Sequence[Sequence[int]], depth: int) -> float:
    """Return the mean share of the exact first `depth` documents that the first `depth` of each ranking contain."""
    return statistics.fmean(_shares(rankings, truth, depth))


def recall_error(rankings: Sequence[Sequence[int]], truth: Sequence[Sequence[int]], depth: int) -> float:
    """Return half of the 95% interval of `recall`, by the spread between queries; 0.0 for a single one."""
    shares = _shares(rankings, truth, depth)
    return _TWO_SIDED_Z * statistics.stdev(shares) / len(shares) ** 0.5 if len(shares) > 1 else 0.0


def _shares(rankings: Sequence[Sequence[int]], truth: Sequence[Sequence[int]], depth: int) -> list[float]:
    return [
        len(set(ranking[:depth]) & set(exact[:depth])) / len(exact[:depth])
        for ranking, exact in zip(rankings, truth, strict=True)
        if exact
    ]


def build(collection: VectorCollection, folder: Path, engine: str) -> tuple[Index, BuildMeasurement]:
    """Build an index of one profile with `Index.add`, and measure it."""
    shutil.rmtree(folder, ignore_errors=True)
    documents = [collection.document(i) for i in range(collection.documents)]
    buckets = np.random.default_rng(1).integers(0, _BUCKETS, collection.documents)
    dim = collection.vectors.shape[1]
    with PeakMemory() as memory:
        started = time.perf_counter()
        index = Index.create(folder, dim=dim, filterable={"bucket": int}, **INDEX_PROFILES[engine])
        index.add(
            ids=[str(i) for i in range(len(documents))],
            vectors=documents,
            metadata=[{"bucket": int(bucket)} for bucket in buckets],
        )
        seconds = time.perf_counter() - started
    stats = index.stats()
    return index, BuildMeasurement(
        engine, seconds, memory.increase, stats.bytes + stats.catalog_bytes, stats.code_bytes_per_token
    )


def index_search(index: Index, k: int, **options: Any) -> Search:
    """Return a function that searches the index for document numbers, which are its ids."""
    return lambda query: [int(hit.id) for hit in index.search(query, k=k, **options)]


def brute_force(collection: VectorCollection, k: int) -> Search:
    """Return a function that scores every float16 vector with Serotine's kernel: the fastest exact search, no index."""
    return lambda query: maxsim.top_k(query, collection.vectors, collection.offsets, k)[1].tolist()


def search(
    index: Index, engine: str, collection: VectorCollection, truth: Sequence[Sequence[int]], rounds: int
) -> list[SearchMeasurement]:
    """Measure one index with all numbers of candidates and recalls, for ten and a hundred hits."""
    efforts: dict[str, tuple[int, dict[str, Any]]] = {
        f"{'default' if count is None else f'{count:,} candidates'}, k={k}": (k, {"candidates": count})
        for count in CANDIDATES
        for k in (10, DEPTH)
        if count is None or count >= k
    } | {f"recall={promised}, k={k}": (k, {"recall": promised}) for promised in RECALLS for k in (10, DEPTH)}
    contenders = {name: (k, index_search(index, k, **effort)) for name, (k, effort) in efforts.items()}
    measurements = []
    for name, measurement in measure(collection.queries, truth, contenders, rounds):
        k, effort = efforts[name]
        measurement.engine = engine
        measurement.plan = index.search(collection.queries[0], k=k, **effort).stats.plan
        measurements.append(measurement)
    return measurements


def exact_search(
    index: Index, engine: str, collection: VectorCollection, truth: Sequence[Sequence[int]]
) -> SearchMeasurement:
    """Measure `exact=True`: how often it equals brute force, and how often it is certified."""
    times, equal, certified, rescored = [], 0, 0, []
    for query, ranking in zip(collection.queries, truth, strict=True):
        started = time.perf_counter()
        hits = index.search(query, k=10, exact=True)
        times.append((time.perf_counter() - started) * 1e3)
        equal += [int(hit.id) for hit in hits] == list(ranking[:10])
        if hits.certificate is not None:
            certified += hits.certificate.exact
            rescored.append(hits.certificate.rescored)
    notes = {
        "equal_to_brute_force": equal,
        "certified": certified,
        "queries": len(times),
        "median_rescored": statistics.median(rescored),
    }
    share = equal / len(times)
    p95, p99 = (float(value) for value in np.percentile(times, (95, 99)))
    return SearchMeasurement(
        engine, "exact=True, k=10", 10, statistics.median(times), p95, share, None, p99, 0.0, 10, "bounds", notes
    )


def filtered_search(index: Index, engine: str, collection: VectorCollection, rounds: int) -> list[SearchMeasurement]:
    """Measure filters that match one and ten percent, with recall against exact search over the matching documents."""
    buckets = np.random.default_rng(1).integers(0, _BUCKETS, collection.documents)
    measurements = []
    for percent in (1, 10):
        matching = buckets < percent
        truth = collection.exact_top_k(matching)
        contenders = {f"filter of {percent}%": (DEPTH, index_search(index, DEPTH, where={"bucket": {"<": percent}}))}
        for _, measurement in measure(collection.queries, truth, contenders, rounds):
            measurement.engine = engine
            measurement.notes = {"documents": int(matching.sum())}
            measurement.plan = index.search(collection.queries[0], where={"bucket": {"<": percent}}).stats.plan
            measurements.append(measurement)
    return measurements


def search_after_churn(index: Index, engine: str, collection: VectorCollection, rounds: int) -> list[SearchMeasurement]:
    """Measure recall after 30% of the documents are replaced: every second token is that of another document."""
    rng = np.random.default_rng(2)
    replaced = np.sort(rng.choice(collection.documents, collection.documents * 3 // 10, replace=False))
    donors = rng.permutation(replaced)
    vectors = np.array(collection.vectors)
    changed = []
    for number, donor in zip(replaced.tolist(), donors.tolist(), strict=True):
        document = vectors[collection.offsets[number] : collection.offsets[number + 1]]
        donated = collection.document(donor)
        document[::2][: len(donated[::2])] = donated[::2][: len(document[::2])]
        changed.append(document)
    started = time.perf_counter()
    ids = [str(number) for number in replaced]
    index.delete(ids)
    for start in range(0, len(ids), 100):
        index.add(ids=ids[start : start + 100], vectors=changed[start : start + 100])
    seconds = time.perf_counter() - started
    after = VectorCollection(vectors, collection.offsets, collection.queries, collection.origin)
    truth = after.exact_top_k()
    measurements = []
    for name in ("after 30% churn", "after 30% churn, compacted"):
        if name.endswith("compacted"):
            index.compact()
        contenders = {f"{name}, k={k}": (k, index_search(index, k)) for k in (10, DEPTH)}
        stats = index.stats()
        for _, measurement in measure(collection.queries, truth, contenders, rounds):
            measurement.engine = engine
            measurement.plan = index.search(collection.queries[0], k=measurement.k).stats.plan
            measurement.notes = {"segments": stats.segments, "codebooks": stats.codebooks, "churn_seconds": seconds}
            measurements.append(measurement)
    return measurements


def measure_index(
    collection: VectorCollection, folder: Path, *, rounds: int, engines: Sequence[str], log: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the given profiles, and return the JSON result; `log` is called with a line per step."""
    threads = maxsim.num_threads()
    log(f"computing exact MaxSim over {collection.documents:,} documents")
    truth = collection.exact_top_k()
    built: list[BuildMeasurement] = []
    searched: list[SearchMeasurement] = []
    opened: dict[str, Index] = {}
    try:
        for engine in engines:
            log(f"building: {engine}")
            opened[engine], cost = build(collection, folder / engine.replace(" ", "-").replace(",", ""), engine)
            built.append(cost)
        # Building uses every core; searching is measured on one.
        maxsim.set_num_threads(1)
        log("searching: brute force")
        for k in (10, DEPTH):
            for _, measurement in measure(
                collection.queries[:50], truth[:50], {"": (k, brute_force(collection, k))}, 1
            ):
                measurement.engine, measurement.setting = "brute force, float16", f"k={k}"
                searched.append(measurement)
        for engine, index in opened.items():
            log(f"searching: {engine}")
            searched += search(index, engine, collection, truth, rounds)
            if INDEX_PROFILES[engine].get("keep_vectors", True):
                searched.append(exact_search(index, engine, collection, truth))
        first = engines[0]
        log("filters and churn")
        searched += filtered_search(opened[first], first, collection, rounds)
        searched += search_after_churn(opened[first], first, collection, rounds)
    finally:
        maxsim.set_num_threads(threads)
        for index in opened.values():
            index.close()
    return {
        "collection": {
            **collection.origin,
            "documents": collection.documents,
            "tokens": int(collection.offsets[-1]),
            "dim": collection.vectors.shape[1],
            "queries": len(collection.queries),
        },
        "built": [asdict(row) for row in built],
        "searched": [asdict(row) for row in searched],
    }
