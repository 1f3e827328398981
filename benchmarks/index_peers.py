"""Measure another engine on the collection that `serotine bench index` encoded: speed, recall, memory, disk.

    python benchmarks/index_peers.py ENGINE FOLDER --work FOLDER --out FILE [--documents N]

Runs in the engine's own environment: it needs that engine and NumPy, not Serotine. FOLDER is the cache folder of
`serotine bench index`. Searches run on one thread, one query at a time. Set up an empty virtual environment for each:

    numpy       pip install numpy
    faiss       pip install numpy faiss-cpu
    fast-plaid  pip install fast-plaid
    xtr-warp    pip install xtr-warp-rs
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

# Numerical libraries read the limits above when they are imported.
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

DEPTH = 100
WARM_UP = 10
Search = Callable[[NDArray[np.float32]], list[int]]


def resident() -> int:
    """Return the resident bytes of this process."""
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
        """Number of documents."""
        return len(self.offsets) - 1

    def document(self, number: int) -> NDArray[np.float32]:
        """Return the vectors of a document, float32."""
        return self.vectors[self.offsets[number] : self.offsets[number + 1]].astype(np.float32)

    def scores(self, query: NDArray[np.float32], documents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the exact MaxSim of some documents, by one product each."""
        return np.array([(self.document(int(d)) @ query.T).max(axis=0).sum() for d in documents], dtype=np.float32)

    def exact_top_k(self, folder: Path) -> list[list[int]]:
        """Return the exact hundred best documents of every query; cached in the folder."""
        file = folder / f"exact-{self.documents}.npy"
        if not file.exists():
            starts = self.offsets[:-1]
            vectors = self.vectors.astype(np.float32)
            rankings = []
            for query in self.queries:
                totals = np.maximum.reduceat(vectors @ query.T, starts, axis=0).sum(axis=1)
                rankings.append(np.argsort(-totals, kind="stable")[:DEPTH])
            np.save(file, np.array(rankings))
        return [row.tolist() for row in np.load(file)]


class Engine(ABC):
    """An engine: how to build its index, and the settings to search it with."""

    package = ""

    @abstractmethod
    def build(self, data: Data, folder: Path) -> None:
        """Index all documents."""

    @abstractmethod
    def searches(self, data: Data) -> dict[str, Search]:
        """Return functions that return the hundred best documents of a query, by setting."""


class NumPy(Engine):
    """Brute force in float32: one product over all tokens, then a maximum per document."""

    package = "numpy"

    def build(self, data: Data, folder: Path) -> None:
        """Convert the vectors to float32."""
        self.vectors = data.vectors.astype(np.float32)

    def searches(self, data: Data) -> dict[str, Search]:
        """Return brute force, its only setting."""
        starts = data.offsets[:-1]

        def search(query: NDArray[np.float32]) -> list[int]:
            totals = np.maximum.reduceat(self.vectors @ query.T, starts, axis=0).sum(axis=1)
            top = np.argpartition(-totals, DEPTH)[:DEPTH]
            return list(map(int, top[np.argsort(-totals[top], kind="stable")]))

        return {"brute force, float32": search}


class Faiss(Engine):
    """A token index (IVF, 8-bit scalars); documents of the best tokens are candidates, which are scored exactly."""

    package = "faiss-cpu"

    def build(self, data: Data, folder: Path) -> None:
        """Train on 40 tokens per list, then add all tokens."""
        faiss = importlib.import_module("faiss")
        lists = 1024 if len(data.vectors) < 1_000_000 else 4096
        dim = data.vectors.shape[1]
        self.index = faiss.index_factory(dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        rng = np.random.default_rng(0)
        sample = np.sort(rng.permutation(len(data.vectors))[: 40 * lists])
        self.index.train(data.vectors[sample].astype(np.float32))
        for start in range(0, len(data.vectors), 1 << 17):
            self.index.add(data.vectors[start : start + (1 << 17)].astype(np.float32))
        faiss.write_index(self.index, str(folder / "tokens.faiss"))
        np.save(folder / "vectors.npy", data.vectors)
        self.document_of_token = np.repeat(np.arange(data.documents), np.diff(data.offsets))

    def searches(self, data: Data) -> dict[str, Search]:
        """Rerank 100, 500 or 1000 candidates exactly."""
        self.index.nprobe = 16
        return {f"{count} reranked exactly": self._search(data, count) for count in (100, 500, 1000)}

    def _search(self, data: Data, count: int) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            similarities, tokens = self.index.search(query, 512)
            totals = np.zeros(data.documents, dtype=np.float32)
            for row, numbers in zip(similarities, tokens, strict=True):
                valid = numbers >= 0
                best = np.zeros(data.documents, dtype=np.float32)
                np.maximum.at(best, self.document_of_token[numbers[valid]], row[valid])
                totals += best
            candidates = np.argpartition(-totals, min(count, data.documents - 1))[:count]
            exact = data.scores(query, candidates)
            return list(map(int, candidates[np.argsort(-exact, kind="stable")][:DEPTH]))

        return search


class TorchEngine(Engine):
    """An engine in Rust over torch, whose index takes tensors."""

    index: Any

    def documents(self, data: Data) -> list[Any]:
        """Return the documents as tensors, with torch on one thread."""
        self.torch = importlib.import_module("torch")
        self.torch.set_num_threads(1)
        return [self.torch.from_numpy(data.document(i)) for i in range(data.documents)]

    def _search(self, options: dict[str, Any]) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            rankings = self.index.search(
                queries_embeddings=self.torch.from_numpy(query)[None], top_k=DEPTH, show_progress=False, **options
            )
            return [int(number) for number, _ in rankings[0]]

        return search


class FastPlaid(TorchEngine):
    """PLAID in Rust over torch."""

    package = "fast-plaid"

    def build(self, data: Data, folder: Path) -> None:
        """Build with the defaults, on the CPU."""
        plaid = importlib.import_module("fast_plaid.search")
        self.index = plaid.FastPlaid(index=str(folder / "plaid"), device="cpu")
        self.index.create(documents_embeddings=self.documents(data))

    def searches(self, data: Data) -> dict[str, Search]:
        """Search with the default, and with fewer full scores."""
        return {
            "default": self._search({}),
            "n_full_scores=1024": self._search({"n_full_scores": 1024}),
            "n_full_scores=256": self._search({"n_full_scores": 256}),
        }


class LanceDb(Engine):
    """A multivector column with an IVF_PQ index over tokens."""

    package = "lancedb"

    def build(self, data: Data, folder: Path) -> None:
        """Write one list column of vectors, and index it by cosine, as multivectors require."""
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

    def searches(self, data: Data) -> dict[str, Search]:
        """Search with the default, and with more lists and refining."""
        return {"default": self._search(20, None), "nprobes=64, refine_factor=5": self._search(64, 5)}

    def _search(self, probes: int, refine: int | None) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            request = self.table.search(query).limit(DEPTH).nprobes(probes).select(["id"])
            if refine is not None:
                request = request.refine_factor(refine)
            return [int(row["id"]) for row in request.to_list()]

        return search


class Qdrant(Engine):
    """Qdrant's embedded engine: a multivector field with an HNSW graph over documents, and brute force."""

    package = "qdrant-edge-py"

    def build(self, data: Data, folder: Path) -> None:
        """Build with the defaults, then optimize, which builds the graph."""
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

    def searches(self, data: Data) -> dict[str, Search]:
        """Search with the default, a larger beam, and exactly."""
        params = self.edge.SearchParams
        return {
            "default": self._search(None),
            "hnsw_ef=512": self._search(params(hnsw_ef=512)),
            "exact": self._search(params(exact=True)),
        }

    def _search(self, params: Any) -> Search:
        def search(query: NDArray[np.float32]) -> list[int]:
            nearest = self.edge.Query.Nearest(query.tolist())
            points = self.shard.search(self.edge.SearchRequest(query=nearest, limit=DEPTH, params=params))
            return [int(point.id) for point in points]

        return search


class XtrWarp(TorchEngine):
    """WARP in Rust over torch: it imputes similarities that it did not retrieve, so its order is not MaxSim's."""

    package = "xtr-warp-rs"

    def build(self, data: Data, folder: Path) -> None:
        """Build with the defaults, on the CPU."""
        warp = importlib.import_module("xtr_warp.search")
        self.index = warp.XTRWarp(index=str(folder / "warp"), device="cpu")
        self.index.create(self.documents(data), device="cpu", show_progress=False)
        self.index.load(device="cpu")

    def searches(self, data: Data) -> dict[str, Search]:
        """Search with the default, and with more lists per query token."""
        return {"default": self._search({}), "nprobe=64": self._search({"nprobe": 64})}


ENGINES: dict[str, type[Engine]] = {
    "numpy": NumPy,
    "faiss": Faiss,
    "fast-plaid": FastPlaid,
    "xtr-warp": XtrWarp,
    "lancedb": LanceDb,
    "qdrant": Qdrant,
}


def measure(search: Search, data: Data, truth: list[list[int]], count: int) -> dict[str, Any]:
    """Time a search on the first `count` queries; compute recall against exact MaxSim."""
    for query in data.queries[:WARM_UP]:
        search(query)
    times, rankings = [], []
    for query in data.queries[:count]:
        started = time.perf_counter()
        rankings.append(search(query))
        times.append((time.perf_counter() - started) * 1e3)

    def recall(depth: int) -> float:
        pairs = zip(rankings, truth, strict=False)
        return statistics.fmean(len(set(ranking[:depth]) & set(exact[:depth])) / depth for ranking, exact in pairs)

    return {
        "k": DEPTH,
        "p50_ms": statistics.median(times),
        "p95_ms": float(np.percentile(times, 95)),
        "recall_at_10": recall(10),
        "recall_at_100": recall(DEPTH),
        "min_hits": min(map(len, rankings)),
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
    arguments = parser.parse_args()
    data = Data(arguments.folder, arguments.documents)
    truth = data.exact_top_k(arguments.folder)
    engine = ENGINES[arguments.engine]()
    result: dict[str, Any] = {
        "engine": arguments.engine,
        "version": importlib.metadata.version(engine.package),
        "documents": data.documents,
        "tokens": len(data.vectors),
    }

    def write() -> None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
        sys.stderr.write(json.dumps(result) + "\n")

    def stop() -> None:
        result["error"] = f"building did not finish in {arguments.limit:,.0f} s"
        result["build_peak_bytes"] = peak
        write()
        os._exit(3)

    arguments.work.mkdir(parents=True, exist_ok=True)
    before, peak = resident(), 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident() - before)

    threading.Thread(target=watch, daemon=True).start()
    timer = threading.Timer(arguments.limit, stop)
    timer.daemon = True
    timer.start()
    started = time.perf_counter()
    engine.build(data, arguments.work)
    result["build_seconds"] = time.perf_counter() - started
    timer.cancel()
    done.set()
    result["build_peak_bytes"] = peak
    result["disk_bytes"] = sum(file.stat().st_size for file in arguments.work.rglob("*") if file.is_file())
    result["searched"] = [
        {"setting": setting, **measure(search, data, truth, arguments.queries)}
        for setting, search in engine.searches(data).items()
    ]
    write()


if __name__ == "__main__":
    main()
