"""Load-test the server, and the same framework over an exact scan and LanceDB: latency, throughput, recall.

    python benchmarks/serving.py PASSAGES QUERIES --cache FOLDER [--documents N] [--seconds S] [--out FILE]

PASSAGES and QUERIES are those of `serotine bench index`. The passages are encoded once, by the default encoder
truncated to 128 dimensions, into an index in FOLDER; the peers get its vectors. Each server runs in its own process;
8 clients on the same machine send it queries, first as text, then as vectors. Every engine runs behind the same
FastAPI, uvicorn, request model, thread pool, queue and batching of queries; only the search differs. Queries are not
cached. Finally, the server is searched while a writer adds documents to a copy of the index.

Writes benchmarks/results/serving.json by default.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Client, Encoder, Index, maxsim
from serotine.bench import describe_machine
from serotine.errors import ServerError
from serotine.ingest import Document, read
from serotine.progress import progress_bar
from serotine.wire import pack

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks/results/serving.json"
INDEX = "passages.serotine"
DIM = 128
K = 10
CLIENTS = 8
WARM_UP_SECONDS = 2.0
BATCH = 512
# More than LanceDB's default; its recall on these vectors is about one half even so.
PROBES, REFINE = 64, 5
ScoredDocuments = list[tuple[str, float, str | None]]
Search = Callable[[NDArray[np.float32], int], ScoredDocuments]


# The peers' servers


class Exact:
    """Exact scan of every token with Serotine's kernel."""

    def __init__(self, folder: Path) -> None:
        with Index.open(folder / INDEX, read_only=True) as index:
            self.ids = index.ids()
            documents = [index.vectors(id_) for id_ in self.ids]
            self.texts = [hit.text for hit in index.get(self.ids)]
        self.vectors = np.concatenate(documents)
        self.offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in documents])]).astype(np.int64)

    def __call__(self, query: NDArray[np.float32], k: int) -> ScoredDocuments:
        """Return the k best documents."""
        scores, numbers = maxsim.top_k(query, self.vectors, self.offsets, k)
        pairs = zip(scores.tolist(), numbers.tolist(), strict=True)
        return [(self.ids[number], score, self.texts[number]) for score, number in pairs]


class LanceDb:
    """A multivector column with an IVF_PQ index, built once."""

    def __init__(self, folder: Path) -> None:
        import lancedb

        from serotine.integrations import export_lancedb
        from serotine.integrations.lancedb import TABLE

        target = folder / "lance"
        if not (target / "ready").exists():
            shutil.rmtree(target, ignore_errors=True)
            with Index.open(folder / INDEX, read_only=True) as index:
                export_lancedb(index, target)
            table = lancedb.connect(str(target)).open_table(TABLE)
            table.create_index(metric="cosine", vector_column_name="vectors", index_type="IVF_PQ")
            (target / "ready").touch()
        self.table: Any = lancedb.connect(str(target)).open_table(TABLE)

    def __call__(self, query: NDArray[np.float32], k: int) -> ScoredDocuments:
        """Return the k best documents; LanceDB's distance is the number of query tokens minus MaxSim."""
        request = self.table.search(query, vector_column_name="vectors").limit(k).nprobes(PROBES).refine_factor(REFINE)
        rows = request.select(["id", "text"]).to_list()
        return [(row["id"], len(query) - row["_distance"], row["text"]) for row in rows]


ENGINES: dict[str, Callable[[Path], Search]] = {"exact scan": Exact, "lancedb": LanceDb}


def serve_peer(engine: str, folder: Path, port: int) -> None:
    """Serve another engine with the framework of Serotine's server."""
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import Response

    from serotine.serving import Limits
    from serotine.serving.batching import BatchingEncoder
    from serotine.serving.http.answer import json_response
    from serotine.serving.http.schemas.search import SearchRequest
    from serotine.serving.http.vectors import parse_vectors
    from serotine.serving.work_pool import WorkPool

    search = ENGINES[engine](folder)
    encoder = BatchingEncoder(Encoder(dim=DIM), cache_size=0, observe=lambda _size: None)
    limits = Limits()
    pool = WorkPool("search", threads=limits.threads, queue=limits.queue, seconds=limits.seconds)
    app = FastAPI()

    @app.get("/readyz")
    async def ready() -> Response:
        return json_response({"status": "ready"})

    def work(body: SearchRequest) -> dict[str, Any]:
        if body.vectors is None:
            (query,) = encoder.encode_queries([body.query or ""])
        else:
            query = parse_vectors(body.vectors, DIM, "vectors").astype(np.float32)
        documents = search(query, body.k)
        return {"hits": [{"id": id_, "score": score, "text": text} for id_, score, text in documents]}

    async def answer(body: SearchRequest) -> Response:
        return json_response(await pool.run(lambda: work(body)))

    # Set by hand: annotations here are strings, which FastAPI would look up among this module's globals.
    answer.__annotations__["body"] = SearchRequest
    app.post("/v1/indexes/passages/search", response_model=None)(answer)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


@contextmanager
def server(command: list[str], name: str) -> Iterator[int]:
    """Start a server process, yield its port once it is ready, and stop it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"{name} did not start: {log.read().decode()}")
                time.sleep(0.2)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


# The load


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes:
        bodies: request bodies, by format: "text" or "vectors".
        truth: ids of the exact ten best documents.
    """

    bodies: dict[str, bytes]
    truth: frozenset[str]


def load(
    port: int, queries: list[Query], query_format: str, seconds: float, until: threading.Event | None = None
) -> dict[str, Any]:
    """Measure the server with `CLIENTS` clients, each sending the next query when the last is answered.

    Stops after `seconds`, or when `until` is set.
    """
    turns = itertools.count()
    started = time.perf_counter()
    measuring = started + WARM_UP_SECONDS
    ending = measuring + seconds
    times: list[float] = []
    recalls: list[float] = []
    errors: list[str] = []

    def send_queries() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (now := time.perf_counter()) < ending and not (until and until.is_set()):
            query = queries[next(turns) % len(queries)]
            try:
                connection.request(
                    "POST",
                    "/v1/indexes/passages/search",
                    query.bodies[query_format],
                    {"Content-Type": "application/json"},
                )
                response = connection.getresponse()
                content = response.read()
                elapsed = time.perf_counter() - now
                if response.status != 200:
                    raise OSError(f"status {response.status}")
            except OSError as error:
                errors.append(str(error))
                connection.close()
                continue
            if now >= measuring:
                times.append(elapsed * 1e3)
                ids = {hit["id"] for hit in json.loads(content)["hits"]}
                recalls.append(len(ids & query.truth) / len(query.truth))
        connection.close()

    threads = [threading.Thread(target=send_queries) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured_seconds = min(time.perf_counter(), ending if until is None else float("inf")) - measuring
    return {
        "query_format": query_format,
        "clients": CLIENTS,
        "seconds": measured_seconds,
        "answered": len(times),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "per_second": len(times) / measured_seconds,
        "p50_ms": float(np.percentile(times, 50)) if times else None,
        "p95_ms": float(np.percentile(times, 95)) if times else None,
        "p99_ms": float(np.percentile(times, 99)) if times else None,
        "recall_at_10": float(np.mean(recalls)) if recalls else None,
    }


def load_while_writing(port: int, queries: list[Query], documents: list[Document]) -> dict[str, Any]:
    """Measure the same load while another client adds documents, a hundred per request."""
    done = threading.Event()
    result: dict[str, Any] = {}

    def write() -> None:
        started = time.perf_counter()
        try:
            time.sleep(WARM_UP_SECONDS)
            with Client(f"http://127.0.0.1:{port}", "passages", timeout=600) as client:
                for start in range(0, len(documents), 100):
                    batch = documents[start : start + 100]
                    client.add([document.id for document in batch], [document.text for document in batch])
                    result["added"] = start + len(batch)
        except ServerError as error:
            result["error"] = str(error)
        finally:
            result["writing_seconds"] = time.perf_counter() - started - WARM_UP_SECONDS
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    row = load(port, queries, "text", 3600.0, until=done)
    writer.join()
    # No recall: the collection grows while it is searched.
    return {**row, "recall_at_10": None, **result}


# The collection


def prepare(folder: Path, passages: Path, documents: int) -> None:
    """Create the index, or resume an incomplete one."""
    path = folder / INDEX
    folder.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(dim=DIM)
    with Index.open(path, encoder=encoder) if path.exists() else Index.create(path, encoder=encoder) as index:
        if len(index) == documents:
            return
        first_passages = itertools.islice(read([passages]), documents)
        batches = iter(lambda: list(itertools.islice(first_passages, BATCH)), [])
        index.add_batches(
            (
                {"ids": [document.id for document in batch], "texts": [document.text for document in batch]}
                for batch in batches
            ),
            expected_documents=documents,
            show_progress=True,
        )
        if len(index) != documents:
            raise SystemExit(f"{path}: must have {documents:,} documents, got {len(index):,}; choose another --cache")


def read_queries(folder: Path, file: Path) -> list[Query]:
    """Return every query with its request bodies and its exact ten best documents."""
    encoder, exact = Encoder(dim=DIM), Exact(folder)
    queries = []
    with progress_bar(None, "Exact rankings", enabled=True) as advance:
        for document in read([file]):
            (query,) = encoder.encode_queries([document.text])
            bodies = {
                "text": json.dumps({"query": document.text, "k": K}).encode(),
                "vectors": json.dumps({"vectors": pack(query), "k": K}).encode(),
            }
            queries.append(Query(bodies, frozenset(id_ for id_, _, _ in exact(query, K))))
            advance(1)
    return queries


def main() -> int:
    """Prepare the index, measure every server and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passages", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--add", type=int, default=5_000, help="documents to add while searching; 0 for none")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--engine", action="append", choices=["serotine", *ENGINES], help="repeatable; all by default")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    prepare(arguments.cache, arguments.passages, arguments.documents)
    queries = read_queries(arguments.cache, arguments.queries)
    path = arguments.cache / INDEX
    ours = [sys.executable, "-m", "serotine", "serve", "--query-cache", "0"]
    rows: list[dict[str, Any]] = []

    def report(row: dict[str, Any]) -> None:
        rows.append(row)
        recall = "" if row["recall_at_10"] is None else f", recall@10 {row['recall_at_10']:.4f}"
        print(
            f"{row['engine']:>12}, {row['query_format']:<8}{row['per_second']:8.1f} per second, "
            f"p50 {row['p50_ms']:7.1f} ms, p99 {row['p99_ms']:7.1f} ms, {row['errors']} errors{recall}",
            flush=True,
        )

    for engine in arguments.engine or ["serotine", *ENGINES]:
        peer = [sys.executable, str(Path(__file__)), "--serve", engine, str(arguments.cache)]
        with server([*ours, str(path)] if engine == "serotine" else peer, engine) as port:
            for query_format in ("text", "vectors"):
                report({"engine": engine, **load(port, queries, query_format, arguments.seconds)})
    if arguments.add:
        new_documents = list(
            itertools.islice(read([arguments.passages]), arguments.documents, arguments.documents + arguments.add)
        )
        with tempfile.TemporaryDirectory(dir=arguments.cache) as work:
            shutil.copytree(path, Path(work) / INDEX)
            with server([*ours, str(Path(work) / INDEX)], "serotine") as port:
                report({"engine": "serotine", **load_while_writing(port, queries, new_documents)})
    result = {
        "machine": describe_machine(["fastapi", "lancedb", "numpy", "onnxruntime", "starlette", "uvicorn"]),
        "collection": {"passages": arguments.passages.name, "documents": arguments.documents, "dim": DIM},
        "load_average_before": os.getloadavg()[2],
        "lancedb": {"nprobes": PROBES, "refine_factor": REFINE},
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_peer(sys.argv[2], Path(sys.argv[3]), int(sys.argv[5]))
    else:
        sys.exit(main())
