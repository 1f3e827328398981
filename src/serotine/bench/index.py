"""Index engines side by side: what building costs, what searching costs, and how much of the exact answer is found."""

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

# What an index is created with, by the name it has in the table.
INDEX_PROFILES: dict[str, dict[str, Any]] = {
    "4 bits": {"nbits": 4},
    "2 bits": {"nbits": 2},
    "8 bits": {"nbits": 8},
    "4 bits, vectors not kept": {"nbits": 4, "keep_vectors": False},
    "2 bits, vectors not kept": {"nbits": 2, "keep_vectors": False},
    "8 bits, vectors not kept": {"nbits": 8, "keep_vectors": False},
}
# Documents scored over their codes, for the Pareto chart; None is what a user gets.
EFFORTS: tuple[int | None, ...] = (None, 24, 48, 128, 256, 512)
# Fields that filters of one and of ten per cent let through.
_BUCKETS = 100


@dataclass(slots=True)
class Built:
    """What building one index took.

    Attributes:
        engine: name.
        build_seconds: wall time, vectors given, all threads.
        build_peak_bytes: resident memory above the input at the peak.
        disk_bytes: of all its files.
        bytes_per_token: of what a search reads before exact rescoring.
    """

    engine: str
    build_seconds: float
    build_peak_bytes: int
    disk_bytes: int
    bytes_per_token: float


@dataclass(slots=True)
class Searched:
    """What one way of searching costs and finds.

    Attributes:
        engine: name of the index.
        setting: what was set, in words.
        k: hits asked for.
        p50_ms: median over queries, one thread, the query's encoding left out.
        p95_ms: 95th percentile.
        recall_at_10: share of the exact ten best among the first ten hits.
        recall_at_100: share of the exact hundred best among all hits; None where fewer were asked for.
        fewest: the least number of hits any query got.
        plan: what the engine did.
        notes: whatever else is worth knowing.
    """

    engine: str
    setting: str
    k: int
    p50_ms: float
    p95_ms: float
    recall_at_10: float
    recall_at_100: float | None
    fewest: int
    plan: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


Answer = Callable[[NDArray[np.float32]], Sequence[int]]


def measure(
    queries: Sequence[NDArray[np.float32]],
    truth: Sequence[Sequence[int]],
    contenders: Mapping[str, tuple[int, Answer]],
    rounds: int,
) -> Iterator[tuple[str, Searched]]:
    """Time every contender, (k, answer), on every query, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, list[Sequence[int]]] = {}
    for number in range(rounds + 1):
        for name, (_, answer) in contenders.items():
            # The first round only warms up, on a few queries, unless it is all there is.
            chosen = queries if number else queries[:10]
            found = []
            for query in chosen:
                started = time.perf_counter()
                found.append(answer(query))
                if number:
                    seconds[name].append(time.perf_counter() - started)
            answers[name] = found
    for name, (k, _) in contenders.items():
        times = [each * 1e3 for each in seconds[name]]
        yield (
            name,
            Searched(
                engine="",
                setting=name,
                k=k,
                p50_ms=statistics.median(times),
                p95_ms=float(np.percentile(times, 95)),
                recall_at_10=recall(answers[name], truth, 10),
                recall_at_100=recall(answers[name], truth, DEPTH) if k >= DEPTH else None,
                fewest=min(len(found) for found in answers[name]),
            ),
        )


def recall(answers: Sequence[Sequence[int]], truth: Sequence[Sequence[int]], depth: int) -> float:
    """The mean share of the true first `depth` that is among the first `depth` given."""
    shares = [
        len(set(found[:depth]) & set(wanted[:depth])) / len(wanted[:depth])
        for found, wanted in zip(answers, truth, strict=True)
        if wanted
    ]
    return statistics.fmean(shares)


def build(collection: VectorCollection, folder: Path, engine: str) -> tuple[Index, Built]:
    """Build one profile from scratch, as `Index.add` does it."""
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
    return index, Built(engine, seconds, memory.above, stats.bytes + stats.catalog_bytes, stats.code_bytes_per_token)


def ids_of(index: Index, k: int, **options: Any) -> Answer:
    """An answer that numbers can be compared with: ids are document numbers."""
    return lambda query: [int(hit.id) for hit in index.search(query, k=k, **options)]


def brute_force(collection: VectorCollection, k: int) -> Answer:
    """Every document's float16 vectors, by our own kernel: the fastest exact search without an index."""
    return lambda query: maxsim.top_k(query, collection.vectors, collection.offsets, k)[1].tolist()


def search(
    index: Index, engine: str, collection: VectorCollection, truth: Sequence[Sequence[int]], rounds: int
) -> list[Searched]:
    """Every effort of one index, ten and a hundred hits."""
    contenders = {
        f"{'default' if effort is None else f'{effort:,} candidates'}, k={k}": (k, ids_of(index, k, candidates=effort))
        for effort in EFFORTS
        for k in (10, DEPTH)
        if effort is None or effort >= k
    }
    out = []
    for _, row in measure(collection.queries, truth, contenders, rounds):
        row.engine = engine
        row.plan = index.search(collection.queries[0], k=row.k).stats.plan
        out.append(row)
    return out


def exact_search(index: Index, engine: str, collection: VectorCollection, truth: Sequence[Sequence[int]]) -> Searched:
    """`exact=True`: how often it equals brute force, and how often it was certified."""
    times, equal, certified, rescored = [], 0, 0, []
    for query, wanted in zip(collection.queries, truth, strict=True):
        started = time.perf_counter()
        hits = index.search(query, k=10, exact=True)
        times.append((time.perf_counter() - started) * 1e3)
        equal += [int(hit.id) for hit in hits] == list(wanted[:10])
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
    return Searched(
        engine, "exact=True, k=10", 10, statistics.median(times), float(np.percentile(times, 95)), share, None, 10,
        "bounds", notes,
    )  # fmt: skip


def filtered(index: Index, engine: str, collection: VectorCollection, rounds: int) -> list[Searched]:
    """Filters that let one and ten per cent through; recall against exact search among what they let through."""
    buckets = np.random.default_rng(1).integers(0, _BUCKETS, collection.documents)
    out = []
    for percent in (1, 10):
        keep = buckets < percent
        truth = collection.truth(keep)
        contenders = {f"filter of {percent}%": (DEPTH, ids_of(index, DEPTH, where={"bucket": {"<": percent}}))}
        for _, row in measure(collection.queries, truth, contenders, rounds):
            row.engine = engine
            row.notes = {"documents": int(keep.sum())}
            row.plan = index.search(collection.queries[0], where={"bucket": {"<": percent}}).stats.plan
            out.append(row)
    return out


def churned(index: Index, engine: str, collection: VectorCollection, rounds: int) -> list[Searched]:
    """Recall after 30% of the documents were deleted and came back changed: every second token of another document."""
    rng = np.random.default_rng(2)
    chosen = np.sort(rng.choice(collection.documents, collection.documents * 3 // 10, replace=False))
    others = rng.permutation(chosen)
    vectors = np.array(collection.vectors)
    changed = []
    for number, other in zip(chosen.tolist(), others.tolist(), strict=True):
        own = vectors[collection.offsets[number] : collection.offsets[number + 1]]
        strange = collection.document(other)
        own[::2][: len(strange[::2])] = strange[::2][: len(own[::2])]
        changed.append(own)
    started = time.perf_counter()
    ids = [str(number) for number in chosen]
    index.delete(ids)
    for start in range(0, len(ids), 100):
        index.add(ids=ids[start : start + 100], vectors=changed[start : start + 100])
    seconds = time.perf_counter() - started
    after = VectorCollection(vectors, collection.offsets, collection.queries, collection.origin)
    truth = after.truth()
    out = []
    for name in ("after 30% churn", "after 30% churn, compacted"):
        if name.endswith("compacted"):
            index.compact()
        contenders = {f"{name}, k={k}": (k, ids_of(index, k)) for k in (10, DEPTH)}
        stats = index.stats()
        for _, row in measure(collection.queries, truth, contenders, rounds):
            row.engine = engine
            row.plan = index.search(collection.queries[0], k=row.k).stats.plan
            row.notes = {"segments": stats.segments, "codebooks": stats.codebooks, "churn_seconds": seconds}
            out.append(row)
    return out


def measure_index(
    collection: VectorCollection, folder: Path, *, rounds: int, engines: Sequence[str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Run the whole benchmark of our own engine, and return its result for JSON."""
    threads = maxsim.num_threads()
    say(f"exact MaxSim over {collection.documents:,} documents, for the truth")
    truth = collection.truth()
    built: list[Built] = []
    searched: list[Searched] = []
    opened: dict[str, Index] = {}
    try:
        for engine in engines:
            say(f"building: {engine}")
            opened[engine], cost = build(collection, folder / engine.replace(" ", "-").replace(",", ""), engine)
            built.append(cost)
        # Building uses every core; searching is measured on one.
        maxsim.set_num_threads(1)
        say("searching: brute force")
        for k in (10, DEPTH):
            for _, row in measure(collection.queries[:50], truth[:50], {"": (k, brute_force(collection, k))}, 1):
                row.engine, row.setting = "brute force, float16", f"k={k}"
                searched.append(row)
        for engine, index in opened.items():
            say(f"searching: {engine}")
            searched += search(index, engine, collection, truth, rounds)
            if INDEX_PROFILES[engine].get("keep_vectors", True):
                searched.append(exact_search(index, engine, collection, truth))
        first = engines[0]
        say("filters and churn")
        searched += filtered(opened[first], first, collection, rounds)
        searched += churned(opened[first], first, collection, rounds)
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
