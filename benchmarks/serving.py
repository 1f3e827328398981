"""The server under load, beside the same framework over an exact scan and over LanceDB: latency, throughput, recall.

    python benchmarks/serving.py PASSAGES QUESTIONS --cache FOLDER [--documents N] [--seconds S] [--out FILE]

PASSAGES and QUESTIONS are what `serotine bench index` takes. The passages are encoded once, by the default encoder cut
to 128 dimensions, into an index in FOLDER; the peers get its vectors. Each server is a process of its own, and is asked
by 8 clients at a time, on the same machine, first with questions in words, then with their vectors. Every engine stands
behind the same FastAPI, uvicorn, request model, thread pool, queue and batching of questions; only the search differs.
Questions are not remembered. Last, the server is searched while a writer adds documents to a copy of the index.

Writes benchmarks/results/serving.json unless told otherwise.
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
AT_ONCE = 512
# More than LanceDB's own default looks at; on these vectors it finds half of the exact answer all the same.
PROBES, REFINE = 64, 5
Scored = list[tuple[str, float, str | None]]
Search = Callable[[NDArray[np.float32], int], Scored]


# The peers' servers


class Exact:
    """Every token of every document, by our own kernel."""

    def __init__(self, folder: Path) -> None:
        with Index.open(folder / INDEX, read_only=True) as index:
            self.ids = index.ids()
            parts = [index.vectors(id_) for id_ in self.ids]
            self.texts = [hit.text for hit in index.get(self.ids)]
        self.vectors = np.concatenate(parts)
        self.offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)

    def __call__(self, query: NDArray[np.float32], k: int) -> Scored:
        """The k best."""
        scores, places = maxsim.top_k(query, self.vectors, self.offsets, k)
        pairs = zip(scores.tolist(), places.tolist(), strict=True)
        return [(self.ids[place], score, self.texts[place]) for score, place in pairs]


class LanceDb:
    """A multivector column with an IVF_PQ index, made once."""

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

    def __call__(self, query: NDArray[np.float32], k: int) -> Scored:
        """The k best; LanceDB's distance is the number of query tokens less MaxSim."""
        asked = self.table.search(query, vector_column_name="vectors").limit(k).nprobes(PROBES).refine_factor(REFINE)
        rows = asked.select(["id", "text"]).to_list()
        return [(row["id"], len(query) - row["_distance"], row["text"]) for row in rows]


ENGINES: dict[str, Callable[[Path], Search]] = {"exact scan": Exact, "lancedb": LanceDb}


def serve_peer(engine: str, folder: Path, port: int) -> None:
    """Run another engine behind what our own server is made of."""
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import Response

    from serotine.serving import Limits
    from serotine.serving.batching import BatchingEncoder
    from serotine.serving.http.responses import json_response
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
        found = search(query, body.k)
        return {"hits": [{"id": id_, "score": score, "text": text} for id_, score, text in found]}

    async def answer(body: SearchRequest) -> Response:
        return json_response(await pool.run(lambda: work(body)))

    # Told here: this file's annotations are strings, which FastAPI would look for among its globals.
    answer.__annotations__["body"] = SearchRequest
    app.post("/v1/indexes/passages/search", response_model=None)(answer)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


@contextmanager
def server(command: list[str], name: str) -> Iterator[int]:
    """A server as a process, until it is needed no more; its port, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"{name} does not start: {log.read().decode()}")
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
class Question:
    """One question: its two bodies, and the ids of the exact answer."""

    bodies: dict[str, bytes]
    truth: frozenset[str]


def load(
    port: int, questions: list[Question], mode: str, seconds: float, until: threading.Event | None = None
) -> dict[str, Any]:
    """So many clients, each asking the next question as soon as its last is answered; `until` in place of a time."""
    turns = itertools.count()
    started = time.perf_counter()
    measuring = started + WARM_UP_SECONDS
    ending = measuring + seconds
    times: list[float] = []
    recalls: list[float] = []
    errors: list[str] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (now := time.perf_counter()) < ending and not (until and until.is_set()):
            question = questions[next(turns) % len(questions)]
            try:
                connection.request(
                    "POST",
                    "/v1/indexes/passages/search",
                    question.bodies[mode],
                    {"Content-Type": "application/json"},
                )
                response = connection.getresponse()
                content = response.read()
                taken = time.perf_counter() - now
                if response.status != 200:
                    raise OSError(f"status {response.status}")
            except OSError as error:
                errors.append(str(error))
                connection.close()
                continue
            if now >= measuring:
                times.append(taken * 1e3)
                found = {hit["id"] for hit in json.loads(content)["hits"]}
                recalls.append(len(found & question.truth) / len(question.truth))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted = min(time.perf_counter(), ending if until is None else float("inf")) - measuring
    return {
        "questions": mode,
        "clients": CLIENTS,
        "seconds": lasted,
        "answered": len(times),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "per_second": len(times) / lasted,
        "p50_ms": float(np.percentile(times, 50)) if times else None,
        "p95_ms": float(np.percentile(times, 95)) if times else None,
        "p99_ms": float(np.percentile(times, 99)) if times else None,
        "recall_at_10": float(np.mean(recalls)) if recalls else None,
    }


def while_writing(port: int, questions: list[Question], documents: list[Document]) -> dict[str, Any]:
    """The same load while one more client adds documents, a hundred in a request."""
    done = threading.Event()
    result: dict[str, Any] = {}

    def write() -> None:
        started = time.perf_counter()
        try:
            time.sleep(WARM_UP_SECONDS)
            with Client(f"http://127.0.0.1:{port}", "passages", timeout=600) as client:
                for start in range(0, len(documents), 100):
                    part = documents[start : start + 100]
                    client.add([each.id for each in part], [each.text for each in part])
                    result["added"] = start + len(part)
        except ServerError as error:
            result["error"] = str(error)
        finally:
            result["writing_seconds"] = time.perf_counter() - started - WARM_UP_SECONDS
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    row = load(port, questions, "words", 3600.0, until=done)
    writer.join()
    # The collection grows while it is searched: there is no one truth to hold the answers against.
    return {**row, "recall_at_10": None, **result}


# The collection


def prepare(folder: Path, passages: Path, documents: int) -> None:
    """Create the index, unless it is there; continue one that is not whole."""
    path = folder / INDEX
    folder.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(dim=DIM)
    with Index.open(path, encoder=encoder) if path.exists() else Index.create(path, encoder=encoder) as index:
        if len(index) == documents:
            return
        found = itertools.islice(read([passages]), documents)
        batches = iter(lambda: list(itertools.islice(found, AT_ONCE)), [])
        index.add_batches(
            ({"ids": [each.id for each in part], "texts": [each.text for each in part]} for part in batches),
            expected_documents=documents,
            show_progress=True,
        )
        if len(index) != documents:
            raise SystemExit(f"{path}: holds {len(index):,} documents, not {documents:,}; choose another --cache")


def questions_of(folder: Path, file: Path) -> list[Question]:
    """Every question with its bodies and its exact answer."""
    encoder, exact = Encoder(dim=DIM), Exact(folder)
    asked = []
    with progress_bar(None, "Exact answers", enabled=True) as advance:
        for document in read([file]):
            (query,) = encoder.encode_queries([document.text])
            bodies = {
                "words": json.dumps({"query": document.text, "k": K}).encode(),
                "vectors": json.dumps({"vectors": pack(query), "k": K}).encode(),
            }
            asked.append(Question(bodies, frozenset(id_ for id_, _, _ in exact(query, K))))
            advance(1)
    return asked


def main() -> int:
    """Prepares, asks each server, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passages", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--add", type=int, default=5_000, help="documents to add while searching; 0 for none")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--engine", action="append", choices=["serotine", *ENGINES], help="repeatable; all unless given"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    prepare(given.cache, given.passages, given.documents)
    questions = questions_of(given.cache, given.questions)
    path = given.cache / INDEX
    ours = [sys.executable, "-m", "serotine.cli", "serve", "--query-cache", "0"]
    rows: list[dict[str, Any]] = []

    def tell(row: dict[str, Any]) -> None:
        rows.append(row)
        recall = "" if row["recall_at_10"] is None else f", recall@10 {row['recall_at_10']:.4f}"
        print(
            f"{row['engine']:>12}, {row['questions']:<8}{row['per_second']:8.1f} a second, p50 {row['p50_ms']:7.1f} "
            f"ms, p99 {row['p99_ms']:7.1f} ms, {row['errors']} errors{recall}",
            flush=True,
        )

    for engine in given.engine or ["serotine", *ENGINES]:
        peer = [sys.executable, str(Path(__file__)), "--serve", engine, str(given.cache)]
        with server([*ours, str(path)] if engine == "serotine" else peer, engine) as port:
            for mode in ("words", "vectors"):
                tell({"engine": engine, **load(port, questions, mode, given.seconds)})
    if given.add:
        more = list(itertools.islice(read([given.passages]), given.documents, given.documents + given.add))
        with tempfile.TemporaryDirectory(dir=given.cache) as work:
            shutil.copytree(path, Path(work) / INDEX)
            with server([*ours, str(Path(work) / INDEX)], "serotine") as port:
                tell({"engine": "serotine", **while_writing(port, questions, more)})
    result = {
        "machine": describe_machine(["fastapi", "lancedb", "numpy", "onnxruntime", "starlette", "uvicorn"]),
        "collection": {"passages": given.passages.name, "documents": given.documents, "dim": DIM},
        "load_average_before": os.getloadavg()[2],
        "lancedb": {"nprobes": PROBES, "refine_factor": REFINE},
        "rows": rows,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_peer(sys.argv[2], Path(sys.argv[3]), int(sys.argv[5]))
    else:
        sys.exit(main())
