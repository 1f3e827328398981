"""Compare MaxSim in DuckDB and SQLite with `maxsim.top_k` on the same vectors, and with DuckDB's list functions.

    python benchmarks/databases.py [--documents N] [--rounds N]

Runs twice, in two processes: with the C library's defaults, and with settings by which glibc keeps freed memory. In
each, the contenders of one dtype take turns on the same vectors, one dtype after the other. Scores are of one query
with 32 tokens, errors against float64. Writes benchmarks/results/databases.json. Needs 7 GB of memory, and three
minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow
from numpy.typing import NDArray

from serotine import maxsim
from serotine.bench import describe_machine
from serotine.integrations import duckdb as in_duckdb
from serotine.integrations import sqlite as in_sqlite
from serotine.integrations.vector_blobs import BlobDtype

RESULT = Path(__file__).parent / "results/databases.json"
TOKENS, DIM, QUERY_TOKENS, K = 80, 128, 32, 10
# Lists and SQLite take a fifth of the documents, list functions 1 in 400: they are slower, or twice as large.
SHARE, LIST_FUNCTIONS_SHARE = 5, 400
MEMORY_KEPT = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_ARENA_MAX": "1",
}
LIST_FUNCTIONS = """
    SELECT id, list_sum(list_transform($query::FLOAT[128][],
        lambda q: list_max(list_transform(vectors, lambda d: array_inner_product(q, d))))) AS score
    FROM few ORDER BY score DESC LIMIT 10
"""

ROW_BY_ROW = "SELECT id, maxsim(?, vectors) AS score FROM halves ORDER BY score DESC LIMIT ?"


@dataclass(frozen=True)
class Contender:
    """A way to find the best documents.

    Attributes:
        name: name in the results.
        documents: how many it scores.
        baseline: the contender on the same vectors that its time is a multiple of.
        run: returns the best, as numbers and scores.
    """

    name: str
    documents: int
    baseline: str
    run: Callable[[], list[tuple[int, float]]]


def blob_column(rows: NDArray[Any], documents: int) -> Any:
    """Return rows of a matrix as one blob per document, without a copy."""
    offsets = np.arange(documents + 1, dtype=np.int64) * (rows.nbytes // documents)
    buffers = [None, pyarrow.py_buffer(offsets), pyarrow.py_buffer(rows)]
    return pyarrow.Array.from_buffers(pyarrow.large_binary(), documents, buffers)


def vectors_of(documents: int) -> NDArray[np.float16]:
    """Return unit vectors, float16 (documents * TOKENS, DIM): tenths that differ by a rotation of the dimensions."""
    base = np.random.default_rng(0).standard_normal((documents * TOKENS // 10, DIM), dtype=np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    halves = base.astype(np.float16)
    return np.concatenate([np.roll(halves, 7 * turn, axis=1) for turn in range(10)])


def quantized(vectors: NDArray[np.float16]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 codes and scales, a part at a time: float32 of all vectors, and copies of it, take 8 GB."""
    parts = [maxsim.quantize(part.astype(np.float32)) for part in np.array_split(vectors, 100)]
    return np.concatenate([codes for codes, _ in parts]), np.concatenate([scales for _, scales in parts])


def create_table(con: duckdb.DuckDBPyConnection, name: str, column: Any) -> None:
    """Create a table of the columns id and vectors."""
    con.register("given", pyarrow.table({"id": np.arange(len(column)), "vectors": column}))
    con.execute(f"CREATE TABLE {name} AS SELECT * FROM given")  # noqa: S608
    con.unregister("given")


def library(
    query: NDArray[Any], rows: NDArray[Any], scales: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
) -> Callable[[], list[tuple[int, float]]]:
    """Return `maxsim.top_k` over these rows; `scales` are those of query and documents."""
    offsets = np.arange(len(rows) // TOKENS + 1) * TOKENS
    of_query, of_documents = scales or (None, None)

    def run() -> list[tuple[int, float]]:
        scores, numbers = maxsim.top_k(query, rows, offsets, K, query_scales=of_query, document_scales=of_documents)
        return list(zip(numbers.tolist(), scores.tolist(), strict=True))

    return run


def in_duckdb_by(
    con: duckdb.DuckDBPyConnection, table: str, query: NDArray[np.float32], *, extension: bool, dtype: BlobDtype
) -> Callable[[], list[tuple[int, float]]]:
    """Return `maxsim_topk` over a table, in a cursor of its own."""
    cursor = con.cursor()
    in_duckdb.register(cursor, dim=DIM, dtype=dtype, extension=extension)
    sql = f"SELECT id, score FROM maxsim_topk('{table}', vectors, $query, {K})"  # noqa: S608
    return lambda: cursor.execute(sql, {"query": query}).fetchall()


def connected() -> duckdb.DuckDBPyConnection:
    """Return a database in memory that loads the extension."""
    return duckdb.connect(config={"allow_unsigned_extensions": True})


def float16_contenders(vectors: NDArray[np.float16], query: NDArray[np.float32]) -> list[Contender]:
    """Return those that read float16, with their tables filled."""
    documents = len(vectors) // TOKENS
    fewer = documents // SHARE
    con = connected()
    create_table(con, "halves", blob_column(vectors, documents))
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE halves (id INTEGER PRIMARY KEY, vectors BLOB)")
    db.executemany(
        "INSERT INTO halves VALUES (?, ?)",
        ((n, vectors[n * TOKENS : (n + 1) * TOKENS].tobytes()) for n in range(fewer)),
    )
    in_sqlite.register(db, dim=DIM, dtype="float16")
    query_blob = query.astype(np.float16).tobytes()
    baseline, name = "maxsim.top_k, float16", "DuckDB maxsim_topk, float16 blobs"
    return [
        Contender(baseline, documents, "", library(query, vectors)),
        Contender(name, documents, baseline, in_duckdb_by(con, "halves", query, extension=True, dtype="float16")),
        Contender(
            f"{name}, without extension", documents, baseline,
            in_duckdb_by(con, "halves", query, extension=False, dtype="float16"),
        ),
        Contender(
            "SQLite maxsim_topk, float16 blobs", fewer, baseline,
            lambda: in_sqlite.maxsim_topk(db, "SELECT id, vectors FROM halves", query, K),
        ),
        Contender(
            "SQLite maxsim, row by row", fewer, baseline, lambda: db.execute(ROW_BY_ROW, (query_blob, K)).fetchall()
        ),
    ]  # fmt: skip


def int8_contenders(vectors: NDArray[np.float16], query: NDArray[np.float32]) -> list[Contender]:
    """Return those that read int8, with their tables filled."""
    documents = len(vectors) // TOKENS
    codes, scales = quantized(vectors)
    query_codes, query_scales = maxsim.quantize(query)
    con = connected()
    tokens = np.concatenate([codes.view(np.uint8), scales[:, None].view(np.uint8)], axis=1)
    create_table(con, "codes", blob_column(tokens, documents))
    baseline, name = "maxsim.top_k, int8", "DuckDB maxsim_topk, int8 blobs"
    return [
        Contender(baseline, documents, "", library(query_codes, codes, (query_scales, scales))),
        Contender(name, documents, baseline, in_duckdb_by(con, "codes", query, extension=True, dtype="int8")),
        Contender(
            f"{name}, without extension", documents, baseline,
            in_duckdb_by(con, "codes", query, extension=False, dtype="int8"),
        ),
    ]  # fmt: skip


def float32_contenders(vectors: NDArray[np.float16], query: NDArray[np.float32]) -> list[Contender]:
    """Return those that read lists of floats, with their tables filled."""
    documents = len(vectors) // TOKENS
    fewer, fewest = documents // SHARE, documents // LIST_FUNCTIONS_SHARE
    floats = vectors[: fewer * TOKENS].astype(np.float32)
    con = connected()
    tokens = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(floats.reshape(-1)), DIM)
    ends = (np.arange(fewer + 1) * TOKENS).astype(np.int32)
    create_table(con, "lists", pyarrow.ListArray.from_arrays(ends, tokens))
    con.execute(f"CREATE TABLE few AS SELECT * FROM lists LIMIT {fewest}")  # noqa: S608
    baseline, name = "maxsim.top_k, float32", "DuckDB maxsim_topk, FLOAT[128][]"
    return [
        Contender(baseline, fewer, "", library(query, floats)),
        Contender(name, fewer, baseline, in_duckdb_by(con, "lists", query, extension=True, dtype="float16")),
        Contender(
            f"{name}, without extension", fewer, baseline,
            in_duckdb_by(con, "lists", query, extension=False, dtype="float16"),
        ),
        Contender(
            "DuckDB list_sum, list_max, array_inner_product", fewest, baseline,
            lambda: con.execute(LIST_FUNCTIONS, {"query": query}).fetchall(),
        ),
    ]  # fmt: skip


def measure_in_turns(
    contenders: list[Contender], vectors: NDArray[np.float16], query: NDArray[np.float32], rounds: int
) -> list[dict[str, Any]]:
    """Return time and error of contenders that take turns."""
    seconds: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in contenders}
    errors: dict[str, float] = {}
    for round_ in range(rounds + 1):
        for contender in contenders:
            wall, processor = time.perf_counter(), time.process_time()
            best = contender.run()
            spent = time.perf_counter() - wall, time.process_time() - processor
            if round_:
                seconds[contender.name].append(spent)
                continue
            # The first round is a warm-up.
            similarities = [query.astype(np.float64) @ vectors[n * TOKENS : (n + 1) * TOKENS].T for n, _ in best]
            exact = [float(similarity.max(axis=1).sum()) for similarity in similarities]
            errors[contender.name] = max(abs(score - truth) for (_, score), truth in zip(best, exact, strict=True))
    rows = []
    by_name = {contender.name: contender for contender in contenders}
    for contender in contenders:
        row: dict[str, Any] = {"method": contender.name, "documents": contender.documents}
        row["milliseconds"] = round(1e3 * statistics.median(wall for wall, _ in seconds[contender.name]), 1)
        row["documents_per_second"] = round(1e3 * contender.documents / row["milliseconds"])
        row["max_error"] = errors[contender.name]
        if contender.baseline:
            scale = by_name[contender.baseline].documents / contender.documents
            pairs = list(zip(seconds[contender.name], seconds[contender.baseline], strict=True))
            for position, name in enumerate(("times_top_k", "times_top_k_processor")):
                row[name] = round(scale * statistics.median(own[position] / base[position] for own, base in pairs), 2)
        rows.append(row)
    return rows


def measure(documents: int, rounds: int) -> list[dict[str, Any]]:
    """Return time and error of all contenders in this process."""
    vectors = vectors_of(documents)
    query = np.random.default_rng(1).standard_normal((QUERY_TOKENS, DIM), dtype=np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    rows = []
    # One dtype after the other: all tables at once take 10 GB.
    for contenders in (float16_contenders, int8_contenders, float32_contenders):
        rows += measure_in_turns(contenders(vectors, query), vectors, query, rounds)
    return rows


def main() -> int:
    """Measure in two processes and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", action="store_true", help="measure in this process only, and print the rows")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.documents, arguments.rounds)))
        return 0
    command = [sys.executable, __file__, "--one", "--documents", str(arguments.documents)]
    command += ["--rounds", str(arguments.rounds)]
    results: dict[str, Any] = {
        "machine": describe_machine(["serotine", "duckdb", "numpy", "pyarrow"]) | {"threads": maxsim.num_threads()},
        "workload": {"tokens": TOKENS, "dim": DIM, "query_tokens": QUERY_TOKENS, "k": K, "rounds": arguments.rounds},
    }
    for name, variables in (("default", {}), ("memory_kept", MEMORY_KEPT)):
        done = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, check=True)
        results[name] = json.loads(done.stdout)
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
