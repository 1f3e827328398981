"""The DuckDB extension: loaded where it can be, with the bits of the Python functions and of the library."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serotine import maxsim
from serotine.integrations import pack_vectors

duckdb = pytest.importorskip("duckdb", reason="needs the extra: pip install 'serotine[duckdb]'")
pytest.importorskip("pyarrow", reason="needs the extra: pip install 'serotine[duckdb]'")
from serotine.integrations import duckdb_extension  # noqa: E402
from serotine.integrations.duckdb import register  # noqa: E402

is_built = pytest.mark.skipif(
    not duckdb_extension.FILE.is_file(),
    reason="needs a core that was built with the DuckDB extension, as `make` builds it on Linux",
)
QUERY = "[[1, 0.5], [-1, 2]]::FLOAT[2][]"
# Columns of a table whose vectors DuckDB lays out in different ways.
VECTORS = {
    "fixed": "[[i * 7 % 13, i % 5], [1, i % 3], [2, -(i % 4)]]::FLOAT[2][]",
    "ragged": "[[i * 7 % 13, i % 5], [1, i % 3], [2, -(i % 4)]][: i % 4]::FLOAT[][]",
    "doubles": "CASE WHEN i % 3 = 0 THEN NULL ELSE [[i % 7, i / 10]]::DOUBLE[][] END",
    "arrays": "[[i, 1], [2, i]]::FLOAT[2][2]",
}
EXPRESSIONS = [
    *(f"maxsim({QUERY}, {name})" for name in VECTORS),
    f"maxsim({QUERY}, list_reverse(fixed))",
    f"maxsim({QUERY}, list_slice(ragged, 2, 3))",
    f"maxsim({QUERY}, list_transform(ragged, lambda token: list_reverse(token)))",
    f"maxsim({QUERY}, list_concat(fixed, fixed[2:2]))",
    f"maxsim({QUERY}, [ragged[1], ragged[2]][: least(i, 2) % 3 * (i % 4) // 3])",
    f"maxsim({QUERY}, CASE WHEN i % 2 = 0 THEN fixed ELSE list_reverse(fixed) END)",
    "maxsim(ragged, doubles)",
    "maxsim(CASE WHEN i % 5 = 0 THEN NULL WHEN i % 2 = 0 THEN ragged ELSE ragged[:1] END, fixed)",
]


def connect(*, unsigned: bool = True) -> Any:
    return duckdb.connect(config={"allow_unsigned_extensions": unsigned})


def both(statement: str, table: str, **settings: Any) -> list[list[Any]]:
    """Return the rows of a statement by the Python functions and by the extension."""
    found = []
    for extension in (False, True):
        with connect() as con:
            assert register(con, extension=extension, **settings) == ("extension" if extension else "python")
            con.execute("SET threads = 3")
            con.execute(table)
            found.append(con.execute(statement).fetchall())
    return found


@is_built
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_lists_of_every_layout_get_the_bits_of_the_python_functions(expression: str) -> None:
    columns = ", ".join(f"{vectors} AS {name}" for name, vectors in VECTORS.items())
    table = f"CREATE TABLE t AS SELECT i, {columns} FROM range(5000) AS numbers(i)"  # noqa: S608
    for condition in ("", "WHERE i % 7 = 3"):
        python, extension = both(f"SELECT i, {expression} FROM t {condition} ORDER BY i", table)  # noqa: S608
        assert len(python) in (5000, 714)
        assert extension == python


@is_built
@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_blobs_at_any_place_in_memory_get_the_bits_of_the_library(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    documents = [rng.standard_normal((count % 7, 6)).astype(np.float32) for count in range(3000)]
    query = rng.standard_normal((5, 6)).astype(np.float32)
    with connect() as con:
        assert register(con, dim=6, dtype=dtype) == "extension"
        con.execute("CREATE TABLE t (id INTEGER, vectors BLOB)")
        # Rows of odd lengths lie between the others, and put them at odd addresses.
        rows = [
            row for i, document in enumerate(documents) for row in ((i, pack_vectors(document, dtype)), (-1, b"odd"))
        ]
        con.executemany("INSERT INTO t VALUES (?, ?)", rows[:600])
        found = con.execute("SELECT maxsim($1, vectors) FROM t WHERE id >= 0 ORDER BY id", [query]).fetchall()
    if dtype == "int8":
        codes, scales = zip(*(maxsim.quantize(document) for document in documents[:300]), strict=True)
        query_codes, query_scales = maxsim.quantize(query)
        ends = np.concatenate([[0], np.cumsum([len(document) for document in documents[:300]])])
        expected = maxsim.score(
            query_codes, np.concatenate(codes), ends, query_scales=query_scales, document_scales=np.concatenate(scales)
        )
    else:
        expected = maxsim.score(query, [document.astype(dtype) for document in documents[:300]])
    assert [score for (score,) in found] == expected.tolist()


@is_built
def test_the_instruction_set_and_threads_of_the_process_are_used() -> None:
    rng = np.random.default_rng(0)
    query, document = rng.standard_normal((2, 9, 200)).astype(np.float32)
    before = maxsim.num_threads()
    try:
        for name in maxsim.capabilities().supported:
            maxsim.use(name)
            maxsim.set_num_threads(1)
            with connect() as con:
                register(con, dim=200, dtype="float32")
                (score,) = con.execute("SELECT maxsim($1, $2)", [query, document.tobytes()]).fetchone()
            assert score == maxsim.score(query, [document])[0], name
    finally:
        maxsim.use("auto")
        maxsim.set_num_threads(before)


@is_built
def test_queries_of_several_databases_and_threads_at_once() -> None:
    found: list[Any] = []

    def search() -> None:
        with connect() as con:
            register(con)
            statement = f"SELECT sum(maxsim({QUERY}, [[i, 1]]::FLOAT[2][])) FROM range(20000) AS numbers(i)"  # noqa: S608
            found.extend(con.execute(statement).fetchone()[0] for _ in range(3))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    assert len(set(found)) == 1


@is_built
def test_without_permission_it_is_python_and_says_so() -> None:
    with connect(unsigned=False) as con:
        assert register(con) == "python"
        expected = (
            r"extension: the connection does not load .*; connect with config=\{'allow_unsigned_extensions': True\}"
        )
        with pytest.raises(ValueError, match=expected):
            register(con, extension=True)
    with connect() as con:
        assert register(con, extension=False) == "python"
        assert register(con) == register(con, extension=True) == "extension"
        assert con.execute("SELECT maxsim([[2]]::FLOAT[][], [[3]]::FLOAT[][])").fetchone() == (6,)


def test_a_build_without_it_and_a_damaged_file_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "serotine.duckdb_extension"
    monkeypatch.setattr(duckdb_extension, "FILE", file)
    with connect() as con:
        assert register(con) == "python"
        with pytest.raises(ValueError, match="extension: this build of Serotine has none; it is built on Linux"):
            register(con, extension=True)
        file.write_bytes(b"damaged" * 1000)
        assert register(con) == "python"
        with pytest.raises(ValueError, match=r"^extension: .*serotine\.duckdb_extension"):
            register(con, extension=True)


WRONG = {
    "serotine_maxsim('abc'::BLOB, [[1]]::FLOAT[][], 2, 'float16')": "query: must be a result of serotine_query",
    "serotine_query([[1]]::FLOAT[][], NULL, 'int8')": "dim and dtype: must not be NULL",
    "serotine_query([[1]]::FLOAT[][], 2, 'bf16')": "dtype: must be one of 'float16', 'int8', 'float32', got 'bf16'",
    "serotine_use(NULL, 2)": "instruction_set and threads: must not be NULL",
    "serotine_use('portable', 0)": "threads: must be between 1 and 1024, got 0",
    "maxsim({'a': 1}, [[1]])": r"query: must be FLOAT\[\]\[\], FLOAT\[n\]\[\] or BLOB, got STRUCT; cast it",
    "maxsim([[1.5]], [[1]])": r"query: must be .* got DECIMAL\(2, 1\)\[\]\[\]; cast it",
}


@is_built
@pytest.mark.parametrize("expression", WRONG)
def test_wrong_calls_are_refused(expression: str) -> None:
    with connect() as con:
        register(con, extension=True)
        with pytest.raises(duckdb.InvalidInputException, match=f"^Invalid Input Error: {WRONG[expression]}"):
            con.execute(f"SELECT {expression}")
