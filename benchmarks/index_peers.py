"""Other engines on the collection that `serotine bench index` has encoded: speed, recall, memory, disk.

    python benchmarks/index_peers.py ENGINE FOLDER --out FILE [--documents N]

Runs in the engine's own environment: it needs that engine and NumPy, not Serotine. FOLDER is the cache folder of
`serotine bench index`. One thread, queries one at a time; the limit is for building. Recipes, each for an empty virtual
environment:

    numpy       pip install numpy
    faiss       pip install numpy faiss-cpu
    fast-plaid  pip install fast-plaid
    lancedb     pip install numpy lancedb pyarrow
    qdrant      pip install numpy qdrant-edge-py
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import itertools
import json
import os
import statistics
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# After the limits above, which numerical libraries read when they are loaded.
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

DEPTH = 100
WARM_UP = 10
Search = Callable[[NDArray[np.float32]], list[int]]


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Data:
    """The encoded collection."""

    def __init__(self, folder: Path, documents: int | None) -> None:
        offsets = np.load(folder / "offsets.npy")
        self.offsets = offsets if documents is None else offsets[: documents + 1]
        self.vectors = np.array(np.load(folder / "vectors.npy", mmap_mode="r")[: self.offsets[-1]])
        stored = np.load(folder / "queries.npz")
        rows, starts = stored["vectors"].astype(np.float32), stored["offsets"]
        self.queries = [rows[a:b] for a, b in itertools.pairwise(starts)]

    @property
    def documents(self) -> int:
        """How many."""
        return len(self.offsets) - 1

    def document(self, number: int) -> NDArray[np.float32]:
        """One document's vectors, float32."""
        return self.vectors[self.offsets[number] : self.offsets[number + 1]].astype(np.float32)

    def scores(self, query: NDArray[np.float32], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Exact MaxSim of chosen documents, by one product each."""
        return np.array([(self.document(int(d)) @ query.T).max(axis=0).sum() for d in documents], dtype=np.float32)

    def truth(self, folder: Path) -> list[list[int]]:
        """The exact hundred best of every query; kept in the folder."""
        file = folder / f"exact-{self.documents}.npy"
        if not file.exists():
            starts = self.offsets[:-1]
            wide = self.vectors.astype(np.float32)
            best = []
            for query in self.queries:
                totals = np.maximum.reduceat(wide @ query.T, starts, axis=0).sum(axis=1)
                best.append(np.argsort(-totals, kind="stable")[:DEPTH])
            np.save(file, np.array(best))
        return [row.tolist() for row in np.load(file)]


class Engine(ABC):
    """One engine: how it builds, and the ways to search it that are worth comparing."""

    package = ""

    @abstractmethod
    def build(self, data: Data, folder: Path) -> None:
        """Indexes all documents."""

    @abstractmethod
    def ways(self, data: Data) -> dict[str, Search]:
        """Searches for the hundred best, by setting."""


class NumPy(Engine):
    """Brute force in float32: one product over all tokens, then a maximum a document."""

    package = "numpy"

    def build(self, data: Data, folder: Path) -> None:
        """Widens the vectors."""
        self.wide = data.vectors.astype(np.float32)

    def ways(self, data: Data) -> dict[str, Search]:
        """The only one."""
        starts = data.offsets[:-1]

        def search(query: NDArray[np.float32]) -> list[int]:
            totals = np.maximum.reduceat(self.wide @ query.T, starts, axis=0).sum(axis=1)
            some = np.argpartition(-totals, DEPTH)[:DEPTH]
            return list(map(int, some[np.argsort(-totals[some], kind="stable")]))

        return {"brute force, float32": search}


class Faiss(Engine):
    """A token index (IVF, 8-bit scalars) whose best tokens name candidates, which are scored exactly."""

    package = "faiss-cpu"

    def build(self, data: Data, folder: Path) -> None:
        """Trains on 40 tokens a list, adds all."""
        faiss = importlib.import_module("faiss")
        lists = 1024 if len(data.vectors) < 1_000_000 else 4096
        dim = data.vectors.shape[1]
        self.index = faiss.index_factory(dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        rng = np.random.default_rng(0)
        some = np.sort(rng.permutation(len(data.vectors))[: 40 * lists])
        self.index.train(data.vectors[some].astype(np.float32))
        for start in range(0, len(data.vectors), 1 << 17):
            self.index.add(data.vectors[start : start + (1 << 17)].astype(np.float32))
        faiss.write_index(self.index, str(folder / "tokens.faiss"))
        np.save(folder / "vectors.npy", data.vectors)
        self.owner = np.repeat(np.arange(data.documents), np.diff(data.offsets))

    def ways(self, data: Data) -> dict[str, Search]:
        """So many candidates scored exactly."""
        self.index.nprobe = 16
        return {f"{count} reranked exactly": self._way(data, count) for count in (100, 500, 1000)}

    def _way(self, data: Data, count: int) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            found, tokens = self.index.search(query, 512)
            summed = np.zeros(data.documents, dtype=np.float32)
            for row, places in zip(found, tokens, strict=True):
                real = places >= 0
                best = np.zeros(data.documents, dtype=np.float32)
                np.maximum.at(best, self.owner[places[real]], row[real])
                summed += best
            some = np.argpartition(-summed, min(count, data.documents - 1))[:count]
            exact = data.scores(query, some)
            return list(map(int, some[np.argsort(-exact, kind="stable")][:DEPTH]))

        return search


class FastPlaid(Engine):
    """PLAID in Rust over torch."""

    package = "fast-plaid"

    def build(self, data: Data, folder: Path) -> None:
        """Its defaults, on the CPU."""
        torch = importlib.import_module("torch")
        torch.set_num_threads(1)
        plaid = importlib.import_module("fast_plaid.search")
        self.torch = torch
        self.index = plaid.FastPlaid(index=str(folder / "plaid"), device="cpu")
        documents = [torch.from_numpy(data.document(i)) for i in range(data.documents)]
        self.index.create(documents_embeddings=documents)

    def ways(self, data: Data) -> dict[str, Search]:
        """Its default, and fewer full scores."""
        return {
            "default": self._way({}),
            "n_full_scores=1024": self._way({"n_full_scores": 1024}),
            "n_full_scores=256": self._way({"n_full_scores": 256}),
        }

    def _way(self, options: dict[str, Any]) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            found = self.index.search(
                queries_embeddings=self.torch.from_numpy(query)[None], top_k=DEPTH, show_progress=False, **options
            )
            return [int(number) for number, _ in found[0]]

        return search


class LanceDb(Engine):
    """A multivector column with an IVF_PQ index over tokens."""

    package = "lancedb"

    def build(self, data: Data, folder: Path) -> None:
        """One list column of vectors, indexed by cosine as multivectors must be."""
        lancedb = importlib.import_module("lancedb")
        arrow = importlib.import_module("pyarrow")
        dim = data.vectors.shape[1]
        kind = arrow.list_(arrow.list_(arrow.float32(), dim))
        schema = arrow.schema([("id", arrow.int64()), ("vector", kind)])

        def batches() -> Any:
            for start in range(0, data.documents, 1000):
                numbers = list(range(start, min(start + 1000, data.documents)))
                rows = [list(data.document(number)) for number in numbers]
                yield arrow.RecordBatch.from_arrays([arrow.array(numbers), arrow.array(rows, type=kind)], schema=schema)

        database = lancedb.connect(str(folder / "lance"))
        self.table = database.create_table("passages", data=batches(), schema=schema)
        self.table.create_index(metric="cosine", vector_column_name="vector", index_type="IVF_PQ")

    def ways(self, data: Data) -> dict[str, Search]:
        """Its default, and more lists with refining."""
        return {"default": self._way(20, None), "nprobes=64, refine_factor=5": self._way(64, 5)}

    def _way(self, probes: int, refine: int | None) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            asked = self.table.search(query).limit(DEPTH).nprobes(probes).select(["id"])
            if refine is not None:
                asked = asked.refine_factor(refine)
            return [int(row["id"]) for row in asked.to_list()]

        return search


class Qdrant(Engine):
    """Qdrant's embedded engine: a multivector field with an HNSW graph over documents, and brute force."""

    package = "qdrant-edge-py"

    def build(self, data: Data, folder: Path) -> None:
        """Its defaults, then optimised, which builds the graph."""
        self.edge = edge = importlib.import_module("qdrant_edge")
        vectors = edge.EdgeVectorParams(
            size=data.vectors.shape[1],
            distance=edge.Distance.Dot,
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
        )
        self.shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors, max_search_threads=1))
        for start in range(0, data.documents, 100):
            numbers = range(start, min(start + 100, data.documents))
            points = [edge.Point(number, data.document(number).tolist()) for number in numbers]
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        self.shard.flush()
        self.shard.optimize()

    def ways(self, data: Data) -> dict[str, Search]:
        """Its default, a wider beam, and exact."""
        params = self.edge.SearchParams
        return {
            "default": self._way(None),
            "hnsw_ef=512": self._way(params(hnsw_ef=512)),
            "exact": self._way(params(exact=True)),
        }

    def _way(self, params: Any) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            asked = self.edge.Query.Nearest(query.tolist())
            found = self.shard.search(self.edge.SearchRequest(query=asked, limit=DEPTH, params=params))
            return [int(point.id) for point in found]

        return search


ENGINES: dict[str, type[Engine]] = {
    "numpy": NumPy,
    "faiss": Faiss,
    "fast-plaid": FastPlaid,
    "lancedb": LanceDb,
    "qdrant": Qdrant,
}


def measure(search: Search, data: Data, truth: list[list[int]], count: int) -> dict[str, Any]:
    """Time one way on the first `count` queries; recall against exact MaxSim."""
    for query in data.queries[:WARM_UP]:
        search(query)
    times, found = [], []
    for query in data.queries[:count]:
        started = time.perf_counter()
        found.append(search(query))
        times.append((time.perf_counter() - started) * 1e3)

    def recall(depth: int) -> float:
        pairs = zip(found, truth, strict=False)
        return statistics.fmean(len(set(got[:depth]) & set(wanted[:depth])) / depth for got, wanted in pairs)

    return {
        "k": DEPTH,
        "p50_ms": statistics.median(times),
        "p95_ms": float(np.percentile(times, 95)),
        "recall_at_10": recall(10),
        "recall_at_100": recall(DEPTH),
        "fewest": min(map(len, found)),
        "queries": count,
    }


def main() -> None:
    """Build one engine and measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that building may take")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the engine's files")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    data = Data(given.folder, given.documents)
    truth = data.truth(given.folder)
    engine = ENGINES[given.engine]()
    result: dict[str, Any] = {
        "engine": given.engine,
        "version": importlib.metadata.version(engine.package),
        "documents": data.documents,
        "tokens": len(data.vectors),
    }

    def write() -> None:
        given.out.write_text(json.dumps(result, indent=1) + "\n")
        sys.stderr.write(json.dumps(result) + "\n")

    def give_up() -> None:
        result["error"] = f"building was not finished after {given.limit:,.0f} s"
        result["build_peak_bytes"] = peak
        write()
        os._exit(3)

    given.work.mkdir(parents=True, exist_ok=True)
    before, peak = resident(), 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident() - before)

    threading.Thread(target=watch, daemon=True).start()
    timer = threading.Timer(given.limit, give_up)
    timer.daemon = True
    timer.start()
    started = time.perf_counter()
    engine.build(data, given.work)
    result["build_seconds"] = time.perf_counter() - started
    timer.cancel()
    done.set()
    result["build_peak_bytes"] = peak
    result["disk_bytes"] = sum(file.stat().st_size for file in given.work.rglob("*") if file.is_file())
    result["searched"] = [
        {"setting": setting, **measure(search, data, truth, given.queries)}
        for setting, search in engine.ways(data).items()
    ]
    write()


if __name__ == "__main__":
    main()
