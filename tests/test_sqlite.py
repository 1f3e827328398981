"""MaxSim inside SQLite: scores of every kind of blob, the best rows, and what is refused."""

from __future__ import annotations

import doctest
import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest
from helpers.fakes import WordEncoder

from serotine import maxsim
from serotine.errors import RefusedVectorsWarning, SerotineError
from serotine.integrations import pack_vectors, sqlite
from serotine.integrations.vector_blobs import BlobDtype

DIM = 16
ROWS = 1_300
RNG = np.random.default_rng(0)
DOCUMENTS = [RNG.standard_normal((n % 6, DIM)).astype(np.float16).astype(np.float32) for n in range(ROWS)]
QUERY = RNG.standard_normal((4, DIM)).astype(np.float16).astype(np.float32)
EXPECTED = [
    float((QUERY.astype(np.float64) @ document.T).max(axis=1).sum()) if len(document) else -np.inf
    for document in DOCUMENTS
]
ERRORS: dict[BlobDtype, float] = {"float16": 1e-4, "float32": 1e-4, "int8": 0.5}


@pytest.fixture
def con() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE documents (id INTEGER PRIMARY KEY, vectors BLOB)")
    yield connection
    connection.close()


def fill(con: sqlite3.Connection, dtype: BlobDtype) -> None:
    rows = ((number, pack_vectors(document, dtype)) for number, document in enumerate(DOCUMENTS))
    con.executemany("INSERT INTO documents VALUES (?, ?)", rows)


@pytest.mark.parametrize("dtype", ERRORS)
def test_scores_are_maxsim(con: sqlite3.Connection, dtype: BlobDtype) -> None:
    fill(con, dtype)
    sqlite.register(con, dim=DIM, dtype=dtype)
    rows = con.execute("SELECT maxsim(?, vectors) FROM documents ORDER BY id", (pack_vectors(QUERY, dtype),)).fetchall()
    np.testing.assert_allclose([score for (score,) in rows], EXPECTED, atol=ERRORS[dtype])
    best = sqlite.maxsim_topk(con, "SELECT id, vectors FROM documents", QUERY, 700, dtype=dtype)
    assert len(best) == 700
    np.testing.assert_allclose([score for _, score in best], [EXPECTED[id_] for id_, _ in best], atol=ERRORS[dtype])
    assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)


def test_the_best_rows_are_those_of_the_library(con: sqlite3.Connection) -> None:
    fill(con, "float16")
    packed = np.concatenate(DOCUMENTS).astype(np.float16)
    offsets = np.concatenate([[0], np.cumsum([len(document) for document in DOCUMENTS])])
    scores, numbers = maxsim.top_k(QUERY, packed, offsets, 9)
    # Whatever the caller wants rows to be.
    con.row_factory = sqlite3.Row
    best = sqlite.maxsim_topk(con, "SELECT id, 'x', vectors FROM documents", QUERY, 9)
    assert best == [(number, "x", score) for number, score in zip(numbers.tolist(), scores.tolist(), strict=True)]
    filtered = sqlite.maxsim_topk(
        con, "SELECT id, vectors FROM documents WHERE id < :last", QUERY, 5_000, parameters={"last": 40}
    )
    assert len(filtered) == 40
    assert sqlite.maxsim_topk(con, "SELECT vectors FROM documents WHERE id < 0", QUERY, 1) == []
    assert sqlite.maxsim_topk(con, "SELECT vectors FROM documents WHERE id = 1", QUERY, 1) == [
        (pytest.approx(EXPECTED[1], abs=1e-4),)
    ]


def test_ties_are_in_the_order_of_the_select(con: sqlite3.Connection) -> None:
    con.executemany("INSERT INTO documents VALUES (?, ?)", ((n, pack_vectors(QUERY)) for n in range(ROWS)))
    best = sqlite.maxsim_topk(con, "SELECT id, vectors FROM documents ORDER BY id DESC", QUERY, 3)
    assert [id_ for id_, _ in best] == [ROWS - 1, ROWS - 2, ROWS - 3]


def test_null_gives_null_and_is_left_out(con: sqlite3.Connection) -> None:
    sqlite.register(con, encoder=WordEncoder(DIM))
    blob = pack_vectors(QUERY)
    assert con.execute("SELECT maxsim(NULL, ?), maxsim(?, NULL), encode_query(NULL)", (blob, blob)).fetchone() == (
        None, None, None,
    )  # fmt: skip
    con.executemany("INSERT INTO documents VALUES (?, ?)", [(0, None), (1, blob), (2, None)])
    assert [id_ for id_, _ in sqlite.maxsim_topk(con, "SELECT id, vectors FROM documents", QUERY, 3)] == [1]
    # Without tokens, as in DuckDB: the last of the hits, and a query that ranks nothing.
    con.execute("INSERT INTO documents VALUES (3, x'')")
    hits = sqlite.maxsim_topk(con, "SELECT id, vectors FROM documents", QUERY, 3)
    assert [id_ for id_, _ in hits] == [1, 3]
    assert hits[1][1] == -np.inf
    assert sqlite.maxsim_topk(con, "SELECT id, vectors FROM documents", QUERY[:0], 3) == [(1, 0.0), (3, 0.0)]
    assert con.execute("SELECT maxsim(x'', ?), maxsim(?, x'')", (blob, blob)).fetchone() == (0.0, -np.inf)


@pytest.mark.parametrize("dtype", ERRORS)
def test_queries_of_text(con: sqlite3.Connection, dtype: BlobDtype) -> None:
    encoder = WordEncoder(DIM)
    sqlite.register(con, encoder=encoder, dtype=dtype)
    texts = ["the serotine is a bat", "owls hunt", "a bat"]
    blobs = [pack_vectors(vectors, dtype) for vectors in encoder.encode_documents(texts)]
    con.executemany("INSERT INTO documents VALUES (?, ?)", enumerate(blobs))
    rows = con.execute("SELECT id FROM documents ORDER BY maxsim(encode_query('serotine'), vectors) DESC").fetchall()
    assert rows[0] == (0,)


BLOB = pack_vectors(QUERY)
BAD = {
    "odd": (
        BLOB[:-1],
        r"this row must be a multiple of 32 bytes \(16 dimensions of float16\), got 127 bytes; check dim",
    ),
    "text": ("text", "must be a BLOB in this row, got str; pack_vectors writes one"),
    "number": (1.5, "must be a BLOB in this row, got float; pack_vectors writes one"),
    "nan": (np.full((1, DIM), np.nan, np.float16).tobytes(), "NaN or infinity; clean it"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_blobs_are_refused_with_a_warning_that_says_why(con: sqlite3.Connection, kind: str) -> None:
    sqlite.register(con, dim=DIM)
    value, message = BAD[kind]
    for values, name in (((BLOB, value), "document"), ((value, BLOB), "query")):
        with (
            pytest.warns(RefusedVectorsWarning, match=f"maxsim: {name}: .*{message}"),
            pytest.raises(sqlite3.OperationalError, match="user-defined function raised exception"),
        ):
            con.execute("SELECT maxsim(?, ?)", values).fetchone()


@pytest.mark.parametrize("kind", BAD)
def test_bad_blobs_are_refused_with_their_row(con: sqlite3.Connection, kind: str) -> None:
    value, message = BAD[kind]
    con.executemany("INSERT INTO documents VALUES (?, ?)", [(n + 10, BLOB) for n in range(600)])
    con.executemany("INSERT INTO documents VALUES (?, ?)", [(5, None), (700, value)])
    # Row 0 is NULL, and row 601 the bad one.
    shown = message.replace("this row", r"row 601 \(700\)")
    with pytest.raises((TypeError, ValueError), match=f"vectors: .*{shown}"):
        sqlite.maxsim_topk(con, "SELECT id, vectors FROM documents", QUERY, 3)


def test_an_overflow_names_its_row(con: sqlite3.Connection) -> None:
    huge = np.full((1, DIM), 1e30, dtype=np.float32)
    con.executemany(
        "INSERT INTO documents VALUES (?, ?)",
        [(1, pack_vectors(QUERY, "float32")), (2, pack_vectors(huge, "float32"))],
    )
    fault = r"overflows float32 in its dot product with the query; scale it$"
    with pytest.raises(ValueError, match=rf"^vectors: row 1 \(2\) {fault}"):
        sqlite.maxsim_topk(con, "SELECT id, vectors FROM documents", huge, 1, dtype="float32")
    sqlite.register(con, dim=DIM, dtype="float32")
    with (
        pytest.warns(RefusedVectorsWarning, match=f"^maxsim: document: this row {fault}"),
        pytest.raises(sqlite3.OperationalError),
    ):
        con.execute("SELECT maxsim(vectors, vectors) FROM documents").fetchall()


def test_bad_arguments_are_refused(con: sqlite3.Connection) -> None:
    with pytest.raises(TypeError, match="dim: must be an int of at least 1, got None; pass dim= or encoder="):
        sqlite.register(con)
    with pytest.raises(ValueError, match="dtype: must be one of 'float16', 'int8', 'float32', got 'bf16'"):
        sqlite.register(con, dim=DIM, dtype="bf16")  # type: ignore[arg-type]
    select = "SELECT id, vectors FROM documents"
    with pytest.raises(ValueError, match="k: must be at least 1, got 0"):
        sqlite.maxsim_topk(con, select, QUERY, 0)
    with pytest.raises(TypeError, match="k: must be an int of at least 1, got str"):
        sqlite.maxsim_topk(con, select, QUERY, "3")  # type: ignore[arg-type]
    for query, got in (("abc", "str"), (None, "None"), ([[1 + 2j]], "dtype complex128; pass real numbers")):
        with pytest.raises(TypeError, match=rf"query: must be floats of shape \(tokens, dim\), got {got}$"):
            sqlite.maxsim_topk(con, select, query, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="query: token 1 must have 2 dimensions, got 1"):
        sqlite.maxsim_topk(con, select, [[1.0, 2.0], [3.0]], 1)  # type: ignore[arg-type]
    for other in (3, None):
        with pytest.raises(TypeError, match="con: must be a connection of sqlite3, got "):
            sqlite.maxsim_topk(other, select, QUERY, 1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="con: must be a connection of sqlite3, got "):
            sqlite.register(other, dim=DIM)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"query: must have shape \(tokens, dim\), got \(16,\)"):
        sqlite.maxsim_topk(con, select, QUERY[0], 1)
    with pytest.raises(ValueError, match="query: token 0 contains NaN or infinity; clean it"):
        sqlite.maxsim_topk(con, select, np.full((1, 2), np.nan), 1)
    with pytest.raises(SerotineError, match="select: must be a SELECT, got 'DELETE FROM documents'"):
        sqlite.maxsim_topk(con, "DELETE FROM documents", QUERY, 1)
    sqlite.register(con, encoder=WordEncoder(DIM))
    assert con.execute("SELECT encode_query('bat')").fetchone() != (None,)
    # Without an encoder, that of an earlier call is gone: its blobs may have another dtype.
    sqlite.register(con, dim=DIM, dtype="int8")
    with (
        pytest.warns(RefusedVectorsWarning, match="encode_query: needs an encoder; call register"),
        pytest.raises(sqlite3.OperationalError),
    ):
        con.execute("SELECT encode_query('bat')").fetchone()
    sqlite.register(con, encoder=WordEncoder(DIM))
    with (
        pytest.warns(RefusedVectorsWarning, match="encode_query: text: must be TEXT, got int"),
        pytest.raises(sqlite3.OperationalError),
    ):
        con.execute("SELECT encode_query(1)").fetchone()


def test_the_examples_of_the_docstrings_run() -> None:
    for function in (sqlite.register, sqlite.maxsim_topk):
        (test,) = doctest.DocTestFinder().find(function, function.__name__)
        assert doctest.DocTestRunner().run(test).failed == 0
        assert test.examples
