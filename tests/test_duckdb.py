"""MaxSim inside DuckDB: scores of every kind of column, and what is refused."""

from __future__ import annotations

import doctest
import re
import sqlite3
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from numpy.typing import NDArray

from serotine import Encoder, maxsim
from serotine.integrations import pack_vectors

duckdb = pytest.importorskip("duckdb", reason="needs the extra: pip install 'serotine[duckdb]'")
pyarrow = pytest.importorskip("pyarrow", reason="needs the extra: pip install 'serotine[duckdb]'")
from serotine.integrations import duckdb as integration  # noqa: E402
from serotine.integrations import duckdb_extension  # noqa: E402
from serotine.integrations.vector_blobs import BlobFormat  # noqa: E402

DIM = 16
# More than DuckDB's batch of 2,048 rows, and not a multiple of it.
ROWS = 4_321
RNG = np.random.default_rng(0)
DOCUMENTS = [RNG.standard_normal((n % 6, DIM)).astype(np.float16).astype(np.float32) for n in range(ROWS)]
QUERY = RNG.standard_normal((4, DIM)).astype(np.float32)
INT8_ERROR = 0.5


def reference(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    if not len(document):
        return -np.inf
    return float((query.astype(np.float64) @ document.astype(np.float64).T).max(axis=1).sum())


EXPECTED = np.array([reference(QUERY, document) for document in DOCUMENTS])


def lists(arrays: list[NDArray[np.float32]], *, fixed: bool, dtype: Any = np.float32) -> Any:
    """Return the arrays as lists of lists, of fixed size or not."""
    values = pyarrow.array(np.concatenate(arrays).astype(dtype).reshape(-1))
    ends = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
    if fixed:
        tokens = pyarrow.FixedSizeListArray.from_arrays(values, DIM)
    else:
        tokens = pyarrow.ListArray.from_arrays(np.arange(ends[-1] + 1, dtype=np.int32) * DIM, values)
    return pyarrow.ListArray.from_arrays(ends, tokens)


@pytest.fixture(params=["python", "extension"])
def con(request: pytest.FixtureRequest) -> Any:
    if request.param == "extension" and not duckdb_extension.FILE.is_file():
        pytest.skip("needs a core that was built with the DuckDB extension, as `make` builds it on Linux")
    connection = duckdb.connect(config={"allow_unsigned_extensions": request.param == "extension"})
    assert integration.register(connection) == request.param
    yield connection
    connection.close()


def create(con: Any, column: Any) -> None:
    table = pyarrow.table({"id": np.arange(len(column)), "vectors": column})
    con.register("given", table)
    con.execute("CREATE OR REPLACE TABLE documents AS SELECT * FROM given")
    con.unregister("given")


def scores(con: Any, expression: str = "maxsim($query, vectors)", query: Any = QUERY) -> NDArray[np.float64]:
    parameters = {"query": query} if "$query" in expression else {}
    rows = con.execute(f"SELECT {expression} FROM documents ORDER BY id", parameters).fetchall()  # noqa: S608
    return np.array([np.nan if score is None else score for (score,) in rows])


COLUMNS: dict[str, Callable[[], Any]] = {
    "FLOAT[16][]": lambda: lists(DOCUMENTS, fixed=True),
    "FLOAT[][]": lambda: lists(DOCUMENTS, fixed=False),
    "DOUBLE[][]": lambda: lists(DOCUMENTS, fixed=False, dtype=np.float64),
    "float16": lambda: pyarrow.array([pack_vectors(document) for document in DOCUMENTS]),
    "float32": lambda: pyarrow.array([pack_vectors(document, "float32") for document in DOCUMENTS]),
    "int8": lambda: pyarrow.array([pack_vectors(document, "int8") for document in DOCUMENTS]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_scores_are_maxsim(con: Any, kind: str) -> None:
    create(con, COLUMNS[kind]())
    dtype = kind if kind in ("float16", "float32", "int8") else "float16"
    integration.register(con, dim=DIM, dtype=dtype)
    error = INT8_ERROR if kind == "int8" else 1e-4
    np.testing.assert_allclose(scores(con), EXPECTED, atol=error)
    # A query in the form of the documents, and another query in every row.
    packed = pack_vectors(QUERY, dtype)
    np.testing.assert_allclose(scores(con, query=packed), EXPECTED, atol=max(error, 0.02))
    itself = [reference(document, document) if len(document) else 0.0 for document in DOCUMENTS]
    np.testing.assert_allclose(scores(con, "maxsim(vectors, vectors)"), itself, atol=error)
    two = "maxsim(CASE WHEN id % 2 = 0 THEN $query ELSE $query END, vectors)"
    np.testing.assert_allclose(scores(con, two, packed), EXPECTED, atol=max(error, 0.02))


def test_scores_have_the_bits_of_the_library(con: Any) -> None:
    create(con, COLUMNS["float16"]())
    halves = [document.astype(np.float16) for document in DOCUMENTS]
    assert scores(con).tolist() == maxsim.score(QUERY, halves).tolist()
    create(con, COLUMNS["FLOAT[16][]"]())
    assert scores(con).tolist() == maxsim.score(QUERY, DOCUMENTS).tolist()


def test_several_queries_in_one_statement(con: Any) -> None:
    create(con, COLUMNS["FLOAT[16][]"]())
    queries = [QUERY, QUERY[:1], -QUERY]
    con.register("queries", pyarrow.table({"number": [0, 1, 2], "query": lists(queries, fixed=True)}))
    rows = con.execute(
        "SELECT number, documents.id, maxsim(query, vectors) FROM queries, documents WHERE documents.id < 100"
    ).fetchall()
    assert len(rows) == 300
    for number, id_, score in rows:
        assert score == pytest.approx(reference(queries[number], DOCUMENTS[id_]), abs=1e-4)


@pytest.mark.parametrize("dtype", ["FLOAT[16][]", "FLOAT[][]", "float16"])
def test_the_settings_of_arrow_change_nothing(con: Any, dtype: str) -> None:
    create(con, COLUMNS[dtype]())
    integration.register(con, encoder=WordEncoder(DIM))
    statements = (
        "maxsim($query, vectors)",
        "maxsim(CASE WHEN id % 2 = 0 THEN $query END, vectors)",
        "maxsim(encode_query(CASE WHEN id % 2 = 0 THEN 'a bat' ELSE 'an owl' END), vectors)",
    )
    con.execute("SET threads = 1")
    expected = [scores(con, statement) for statement in statements]
    for settings in (
        ["arrow_large_buffer_size = true"],
        ["arrow_output_version = '1.4'", "arrow_output_list_view = true", "produce_arrow_string_view = true"],
    ):
        for setting in settings:
            con.execute(f"SET {setting}")
        for statement, plain in zip(statements, expected, strict=True):
            np.testing.assert_array_equal(scores(con, statement), plain)


def test_null_gives_null(con: Any) -> None:
    column = COLUMNS["FLOAT[16][]"]().to_pylist()
    column[::3] = [None] * len(column[::3])
    create(con, pyarrow.array(column, COLUMNS["FLOAT[16][]"]().type))
    found = scores(con)
    assert np.isnan(found[::3]).all()
    np.testing.assert_allclose(found[1::3], EXPECTED[1::3], atol=1e-4)
    assert np.isnan(scores(con, "maxsim(NULL, vectors)")).all()
    assert np.isnan(scores(con, "maxsim(vectors, NULL)")).all()
    itself = scores(con, "maxsim(vectors, vectors)")
    assert np.isnan(itself[::3]).all()
    assert itself[1] == pytest.approx(reference(DOCUMENTS[1], DOCUMENTS[1]), abs=1e-4)


def test_empty_tables_and_texts(con: Any) -> None:
    create(con, COLUMNS["FLOAT[][]"]())
    assert scores(con, "maxsim([]::FLOAT[][], vectors)").tolist() == [0.0] * ROWS
    con.execute("DELETE FROM documents")
    assert scores(con).tolist() == []
    assert con.execute("FROM maxsim_topk('documents', vectors, $q, 3)", {"q": QUERY}).fetchall() == []


def test_top_k_is_that_of_the_library(con: Any) -> None:
    create(con, COLUMNS["float16"]())
    offsets = np.concatenate([[0], np.cumsum([len(document) for document in DOCUMENTS])])
    best, numbers = maxsim.top_k(QUERY, np.concatenate(DOCUMENTS).astype(np.float16), offsets, 7)
    rows = con.execute("SELECT id, score FROM maxsim_topk('documents', vectors, $q, 7)", {"q": QUERY}).fetchall()
    assert [id_ for id_, _ in rows] == numbers.tolist()
    assert [score for _, score in rows] == best.tolist()
    con.execute("CREATE VIEW even_ones AS SELECT id, vectors AS tokens FROM documents WHERE id % 2 = 0")
    rows = con.execute("SELECT id FROM maxsim_topk('even_ones', tokens, $q, $k)", {"q": QUERY, "k": 3}).fetchall()
    order = np.argsort(-EXPECTED[::2], kind="stable")[:3] * 2
    assert [id_ for (id_,) in rows] == order.tolist()


def test_columns_named_like_arguments_and_results_stay_apart(con: Any) -> None:
    con.execute("CREATE SCHEMA library")
    con.execute(
        'CREATE TABLE library."my texts" AS SELECT i AS id, [[i::FLOAT]] AS "Vectors of", -i AS score, \'x\' AS query, '
        "'y' AS document, 1 AS k FROM range(10) AS numbers(i)"
    )
    found = con.execute('FROM maxsim_topk(\'library."my texts"\', "Vectors of", [[2]]::FLOAT[][], 2)').fetchall()
    assert found == [(9, [[9.0]], -9, "x", "y", 1, 18.0), (8, [[8.0]], -8, "x", "y", 1, 16.0)]
    assert [name for name, *_ in con.description][2::4] == ["score", "score_1"]


def test_queries_of_text() -> None:
    con = duckdb.connect()
    encoder = WordEncoder(DIM)
    integration.register(con, encoder=encoder)
    texts = ["the serotine is a bat", "owls hunt", "a bat"]
    blobs = [pack_vectors(vectors) for vectors in encoder.encode_documents(texts)]
    con.register("given", pyarrow.table({"id": [0, 1, 2], "vectors": blobs, "text": texts}))
    (best, *_) = con.execute(
        "SELECT id, score FROM maxsim_topk('given', vectors, encode_query('serotine'), 1)"
    ).fetchall()
    expected = maxsim.score(
        encoder.encode_queries(["serotine"])[0], [encoder.encode_documents(texts)[0].astype(np.float16)]
    )
    assert best == (0, pytest.approx(float(expected[0])))
    rows = con.execute(
        "SELECT maxsim(encode_query(text), vectors), encode_query(NULL) FROM given ORDER BY id"
    ).fetchall()
    # Every token finds itself, but for rounding; the special ones of queries and documents differ.
    assert [round(score) for score, _ in rows] == pytest.approx([len(text.split()) for text in texts], abs=1)
    assert [null for _, null in rows] == [None] * 3
    with pytest.raises(duckdb.InvalidInputException, match="text: must be VARCHAR, got INTEGER; cast it"):
        con.execute("SELECT encode_query(1)")
    # Registered without an encoder, the connection has that of an earlier call no more.
    integration.register(con, dim=DIM)
    with pytest.raises(duckdb.InvalidInputException, match="encode_query: needs an encoder; call register"):
        con.execute("SELECT encode_query('serotine')")


def test_the_default_encoder_by_name() -> None:
    con = duckdb.connect()
    integration.register(con, encoder="mini")
    encoder = Encoder()
    (document,) = encoder.encode_documents(["The serotine is a bat that emerges late."])
    (score,) = con.execute("SELECT maxsim(encode_query('which bat is late?'), $1)", [pack_vectors(document)]).fetchone()
    (query,) = encoder.encode_queries(["which bat is late?"])
    assert score == pytest.approx(float(maxsim.score(query, [document.astype(np.float16)])[0]))


BAD = {
    "maxsim([[1, 2, 3]]::FLOAT[][], [[1, 2]]::FLOAT[][])": "document: token 0 of row 0 of a batch of 1 must have 3 "
    "dimensions, got 2",
    "maxsim([[1, 2]]::FLOAT[][], [[1, 2], [3]]::FLOAT[][])": "document: token 1 of row 0 of a batch of 1 must have 2 "
    "dimensions, got 1",
    "maxsim([[1], [2, 3]]::FLOAT[][], [[1]]::FLOAT[][])": "query: token 1 of row 0 .* must have 1 dimensions, got 2",
    "maxsim([[1]]::FLOAT[][], [[1], NULL]::FLOAT[][])": "document: token 1 of row 0 .* is NULL; remove it",
    "maxsim([[1, NULL]]::FLOAT[][], [[1, 2]]::FLOAT[][])": "query: token 0 of row 0 .* has a NULL value; remove it",
    "maxsim([['nan'::FLOAT]], [[1]]::FLOAT[][])": "query: row 0 of a batch of 1 contains NaN or infinity; clean it",
    "maxsim([[1]]::FLOAT[][], [['inf'::FLOAT]])": "document: row 0 of a batch of 1 contains NaN or infinity; clean it",
    "maxsim([[3e38]]::FLOAT[][], [[3e38]]::FLOAT[][])": "document: row 0 of a batch of 1 overflows float32 in its dot "
    "product with the query; scale it",
    "maxsim([[1]]::FLOAT[][], [[1], [-1e300]]::DOUBLE[][])": r"document: token 1 of row 0 of a batch of 1 has a value "
    r"beyond float32 \(3.4028e\+38\), got 1e\+300; scale it",
    "maxsim([[1e300]]::DOUBLE[][], [[1]]::FLOAT[][])": "query: token 0 of row 0 .* has a value beyond float32",
    "maxsim([['inf'::DOUBLE]], [[1]]::FLOAT[][])": "query: row 0 of a batch of 1 contains NaN or infinity; clean it",
    "maxsim([[1]], [[1]]::FLOAT[][])": r"query: must be FLOAT\[\]\[\], .* or BLOB, got INTEGER\[\]\[\]; cast",
    "maxsim([[1]]::FLOAT[][], [1]::FLOAT[])": r"document: must be .* or BLOB, got FLOAT\[\]; cast it to one of these",
    "maxsim('text', [[1]]::FLOAT[][])": "query: must be .*, got VARCHAR; cast it",
    "maxsim([[1, 2]]::FLOAT[][], 'abc'::BLOB)": r"document: row 0 of a batch of 1 must be a multiple of 4 bytes \(2 "
    r"dimensions of float16\), got 3 bytes; check dim and dtype",
    "maxsim('abcd'::BLOB, [[1, 2]]::FLOAT[][])": "query: a BLOB does not say how many dimensions its vectors have; "
    "pass dim= to register",
    "maxsim([NULL], [[1]]::FLOAT[][])": "query: token 0 of row 0 of a batch of 1 is NULL; remove it",
    "maxsim([[]], [[1]]::FLOAT[][])": r"query: must be .* or BLOB, got NULL\[\]\[\]; cast it to one of these",
    "maxsim([[]]::FLOAT[][], [[1]]::FLOAT[][])": "query: token 0 .* must have at least one dimension, got 0",
}


@pytest.mark.parametrize("expression", BAD)
def test_bad_vectors_are_refused(con: Any, expression: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(duckdb.InvalidInputException, match=BAD[expression]):
            con.execute(f"SELECT {expression}")


def test_an_empty_array_has_no_tokens(con: Any) -> None:
    create(con, COLUMNS["FLOAT[][]"]())
    np.testing.assert_array_equal(scores(con, query=QUERY[:0]), np.zeros(ROWS))
    given = "maxsim($1, $2), maxsim([], []), maxsim([[1]]::FLOAT[][], [])"
    row = con.execute(f"SELECT {given}", [QUERY, QUERY[:0]]).fetchone()
    assert row == (-np.inf, 0, -np.inf)


def test_top_k_has_no_rows_of_null_and_refuses_a_null_query(con: Any) -> None:
    column = COLUMNS["FLOAT[16][]"]().to_pylist()[:9]
    column[::3] = [None] * 3
    create(con, pyarrow.array(column, COLUMNS["FLOAT[16][]"]().type))
    topk = "SELECT id, score FROM maxsim_topk('documents', vectors, {}, 9)"
    rows = con.execute(topk.format("$1"), [QUERY]).fetchall()
    assert {id_ for id_, _ in rows} == {1, 2, 4, 5, 7, 8}
    # Those without tokens are the last.
    assert [score for _, score in rows] == sorted((score for _, score in rows), reverse=True)
    for query, parameters in (("NULL", []), ("NULL::FLOAT[][]", []), ("$1", [None]), ("(SELECT NULL::BLOB)", [])):
        with pytest.raises(duckdb.InvalidInputException, match="query: must not be NULL; pass vectors, such as"):
            con.execute(topk.format(query), parameters).fetchall()


COUNTS = {
    "NULL": "an integer, got NULL; cast it",
    "NULL::INTEGER": "an integer, got NULL; cast it",
    "1.5": "an integer, got DECIMAL(2,1) 1.5; cast it",
    "'2'": "an integer, got VARCHAR 2; cast it",
    "'two'": "an integer, got VARCHAR two; cast it",
    "true": "an integer, got BOOLEAN true; cast it",
    "-1": "at least 1, got -1",
    "0": "at least 1, got 0",
}


@pytest.mark.parametrize("k", COUNTS)
def test_a_count_that_is_none_is_refused(con: Any, k: str) -> None:
    create(con, COLUMNS["float16"]())
    topk = "SELECT id FROM maxsim_topk('documents', vectors, $1, {})"
    message = re.escape(f"k: must be {COUNTS[k]}")
    with pytest.raises(duckdb.InvalidInputException, match=message):
        con.execute(topk.format(k), [QUERY])
    # DuckDB keeps the best while it reads, and does not sort all rows.
    (plan,) = con.execute(f"EXPLAIN {topk.format(3)}", [QUERY]).fetchall()
    assert "Top N" in plan[1] or "TOP_N" in plan[1]
    assert len(con.execute(topk.format("3::USMALLINT"), [QUERY]).fetchall()) == 3
    assert len(con.execute(topk.format(str(10**30)), [QUERY]).fetchall()) == ROWS


@pytest.mark.parametrize("con_", [3, duckdb, sqlite3])
def test_another_connection_is_refused(con_: Any) -> None:
    con_ = con_.connect(":memory:") if con_ is sqlite3 else con_
    with pytest.raises(TypeError, match=r"^con: must be a connection, such as duckdb.connect\(\), got "):
        integration.register(con_)


@pytest.mark.parametrize("settings", [{"dim": 16}, {"encoder": WordEncoder(16)}], ids=["dim", "encoder"])
def test_a_query_of_another_width_than_the_blobs_is_refused(con: Any, settings: dict[str, Any]) -> None:
    kind = integration.register(con)
    integration.register(con, extension=kind == "extension", **settings)
    create(con, COLUMNS["float16"]())
    message = "query: must have 16 dimensions, got 8"
    with pytest.raises(duckdb.InvalidInputException, match=message):
        scores(con, query=QUERY[:, :8])
    with pytest.raises(duckdb.InvalidInputException, match=message):
        con.execute("SELECT * FROM maxsim_topk('documents', vectors, $1, 2)", [QUERY[:, :8]])
    with pytest.raises(duckdb.InvalidInputException, match=message):
        scores(con, "maxsim([[id, 1, 2, 3, 4, 5, 6, 7]]::FLOAT[][], vectors)")
    np.testing.assert_allclose(scores(con), EXPECTED, rtol=1e-3)
    # Lists say their own width.
    assert con.execute("SELECT maxsim([[1, 2]]::FLOAT[][], [[3, 4]]::FLOAT[][])").fetchone() == (11,)


def test_the_row_in_a_message_counts_nulls(con: Any) -> None:
    con.execute("CREATE TABLE t AS SELECT * FROM (VALUES (NULL), ([[1]]), (NULL), ([[2, 3]])) AS v(vectors)")
    with pytest.raises(duckdb.InvalidInputException, match="token 0 of row 3 of a batch of 4 must have 1 dimensions"):
        con.execute("SELECT maxsim([[1]]::FLOAT[][], vectors::FLOAT[][]) FROM t").fetchall()


@pytest.mark.parametrize("query", ["query", "[[3e38]]::FLOAT[][]"])
def test_an_overflow_names_its_row_and_nothing_that_sql_cannot_pass(con: Any, query: str) -> None:
    con.execute("CREATE TABLE t (query FLOAT[][], vectors FLOAT[][])")
    con.execute("INSERT INTO t VALUES (NULL, [[1]]), ([[3e38]], [[1]]), ([[3]], [[1], [3e38]])")
    message = r"document: row 2 of a batch of 3 overflows float32 in its dot product with the query; scale it"
    with pytest.raises(duckdb.InvalidInputException, match=message) as caught:
        con.execute(f"SELECT maxsim({query}, vectors) FROM t").fetchall()  # noqa: S608
    assert "allow_nonfinite" not in str(caught.value)


def test_bad_settings_are_refused(con: Any) -> None:
    with pytest.raises(TypeError, match=r"encoder: must be an encoder such as .*, got int"):
        integration.register(con, encoder=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="extension: must be True or False, got str 'no'"):
        integration.register(con, extension="no")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dtype: must be one of 'float16', 'int8', 'float32', got 'bf16'"):
        integration.register(con, dtype="bf16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dim: must be at least 1, got 0"):
        integration.register(con, dim=0)
    with pytest.raises(TypeError, match="dim: must be an int of at least 1, got str"):
        integration.register(con, dim="16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dim: must be the 16 of encoder 'words', got 8"):
        integration.register(con, encoder=WordEncoder(16), dim=8)
    with pytest.raises(ValueError, match=r"vectors: must have shape \(tokens, dim\), got \(3,\)"):
        pack_vectors(np.zeros(3))


def test_threads_and_cursors(con: Any) -> None:
    create(con, COLUMNS["float16"]())
    con.execute("SET threads = 4")
    found: list[NDArray[np.float64]] = []

    def search() -> None:
        cursor = con.cursor()
        integration.register(cursor)
        found.extend(scores(cursor) for _ in range(5))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all((one == found[0]).all() for one in found)


def test_queries_of_several_batches(con: Any) -> None:
    # What DuckDB would pass on if it evaluated queries before it joined them: single ones, and several at once.
    functions = integration._functions(None, BlobFormat("float16", DIM))
    single = functions.query_handles(lists([QUERY], fixed=True))
    empty = functions.query_handles(lists([QUERY[:0]], fixed=True))
    several = functions.query_handles(lists([QUERY, -QUERY], fixed=True))
    queries = pyarrow.concat_arrays([single, several, empty, single])
    documents = DOCUMENTS[1:6]
    found = functions.scores(queries, lists(documents, fixed=True)).to_numpy(zero_copy_only=False)
    expected = [reference(query, document) for query, document in zip([QUERY, QUERY, -QUERY], documents, strict=False)]
    np.testing.assert_allclose(found, [*expected, 0.0, reference(QUERY, documents[4])], atol=1e-4)
    other = functions.query_handles(pyarrow.array([[[1.0, 2.0]]], pyarrow.list_(pyarrow.list_(pyarrow.float32()))))
    with pytest.raises(ValueError, match="query: all rows must have one dimension, got 2 and 16"):
        functions.scores(pyarrow.concat_arrays([single, other]), lists(documents[:2], fixed=True))


def test_a_query_that_is_gone_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integration, "_KEPT_QUERIES", 2)
    queries = integration._Queries()
    first, second, third = (queries.add(np.full((1, 2), value, np.float32)) for value in (1, 2, 1))
    assert first == third
    assert queries.get(first).vectors.tolist() == [[1, 1]]
    # The oldest is the one that was used last the longest ago.
    queries.add(np.zeros((1, 2), np.float32))
    queries.get(first)
    with pytest.raises(ValueError, match="query: 2 other queries ran since this statement used it; run it again"):
        queries.get(second)


def test_the_examples_of_the_docstrings_run() -> None:
    for function in (integration.register,):
        (test,) = doctest.DocTestFinder().find(function, function.__name__)
        assert doctest.DocTestRunner().run(test).failed == 0
        assert test.examples


def test_nothing_is_written_to_the_database(tmp_path: Any) -> None:
    file = str(tmp_path / "documents.duckdb")
    with duckdb.connect(file) as con:
        integration.register(con)
        create(con, COLUMNS["float16"]())
        before = scores(con)
    with duckdb.connect(file, read_only=True) as con:
        with pytest.raises(duckdb.CatalogException):
            scores(con)
        integration.register(con)
        assert (scores(con) == before).all()
