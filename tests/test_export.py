"""Exports, read back with the libraries of their formats."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS
from numpy.typing import NDArray

from serotine import Index, maxsim
from serotine.cli import main
from serotine.errors import SerotineError
from serotine.integrations import (
    ExportReport,
    export_lancedb,
    export_parquet,
    export_qdrant,
    exporting,
    lancedb,
    qdrant,
)

TEXTS = ["late interaction keeps tokens", "a bicycle needs two wheels", "", "wings flutter in the wind", "two wings"]
LIBRARIES = {export_parquet: "pyarrow", export_lancedb: "lancedb", export_qdrant: "qdrant_edge"}


@pytest.fixture(params=list(LIBRARIES), ids=["parquet", "lancedb", "qdrant"])
def export(request: pytest.FixtureRequest) -> Callable[..., ExportReport]:
    pytest.importorskip(LIBRARIES[request.param])
    function: Callable[..., ExportReport] = request.param
    return function


@pytest.fixture
def index(tmp_path: Path) -> Any:
    metadata = [{"year": 2020 + i, "tags": ["ä"]} for i in range(5)]
    with Index.create(tmp_path / "index.serotine", encoder=WordEncoder()) as index:
        with pytest.warns(match="have no words"):
            index.add(ids=[f"d{i}" for i in range(5)], texts=TEXTS, metadata=metadata)
        index.add(ids=["deleted"], texts=["deleted before"])
        index.delete(["deleted"])
        yield index


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small enough for several batches.
    monkeypatch.setattr(exporting, "_DOCUMENTS_AT_ONCE", 2)
    monkeypatch.setattr(lancedb, "_BATCHES_AT_ONCE", 2)


def make_query(index: Index) -> NDArray[np.float32]:
    return WordEncoder().encode_queries(["which wings flutter"])[0]


def test_parquet_round_trip(index: Index, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    exported = export_parquet(index, tmp_path / "out.parquet")
    assert exported == ExportReport(5, index.stats().tokens, False)
    table = pq.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("vectors").type.value_type.value_type) == "halffloat"
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == index.ids()
    assert [row["text"] for row in rows] == TEXTS
    assert json.loads(rows[1]["metadata"]) == {"year": 2021, "tags": ["ä"]}
    for row in rows:
        vectors = np.array(row["vectors"], dtype=np.float16).reshape(-1, index.dim)
        np.testing.assert_array_equal(vectors, index.vectors(row["id"]))
    with Index.create(tmp_path / "imported", encoder=WordEncoder()) as imported:
        imported.add(
            ids=[row["id"] for row in rows],
            texts=[row["text"] for row in rows],
            metadata=[json.loads(row["metadata"]) for row in rows],
            vectors=[np.array(row["vectors"], dtype=np.float16).reshape(-1, imported.dim) for row in rows],
        )
        assert imported.search(make_query(index), k=5).items == index.search(make_query(index), k=5).items


def test_lancedb_finds_the_same_documents(index: Index, tmp_path: Path) -> None:
    lance = pytest.importorskip("lancedb")
    assert export_lancedb(index, tmp_path / "lance").documents == 5
    table = lance.connect(tmp_path / "lance").open_table(lancedb.TABLE)
    assert table.count_rows() == 5
    query = make_query(index)
    results = table.search(query, vector_column_name="vectors").metric("cosine").limit(4).to_list()
    hits = index.search(query, k=4)
    assert [row["id"] for row in results] == [hit.id for hit in hits]
    np.testing.assert_allclose(
        [len(query) - row["_distance"] for row in results], [hit.score for hit in hits], atol=2e-3
    )
    for row in table.to_arrow().to_pylist():
        vectors = np.array(row["vectors"], dtype=np.float16).reshape(-1, index.dim)
        np.testing.assert_array_equal(vectors, index.vectors(row["id"]))


def test_qdrant_finds_the_same_documents(index: Index, tmp_path: Path) -> None:
    edge = pytest.importorskip("qdrant_edge")
    assert export_qdrant(index, tmp_path / "shard").documents == 5
    shard = edge.EdgeShard.load(str(tmp_path / "shard"))
    try:
        assert shard.count(edge.CountRequest()) == 5
        query = make_query(index)
        nearest = edge.Query.Nearest(query.tolist(), using=qdrant.VECTOR)
        points = shard.query(edge.QueryRequest(limit=4, query=nearest, with_payload=True))
        hits = index.search(query, k=4)
        assert [point.payload["id"] for point in points] == [hit.id for hit in hits]
        np.testing.assert_allclose([point.score for point in points], [hit.score for hit in hits], atol=1e-3)
        assert points[0].payload["metadata"] == dict(hits[0].metadata)
        assert points[0].payload["text"] == hits[0].text
        for record in shard.retrieve([0, 1, 3], with_payload=False, with_vector=True):
            vectors = np.array(record.vector[qdrant.VECTOR], dtype=np.float16)
            np.testing.assert_array_equal(vectors, index.vectors(f"d{record.id}"))
    finally:
        shard.close()


def test_vectors_that_are_not_stored_are_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    rng = np.random.default_rng(2)
    documents = [rng.standard_normal((8, 8)).astype(np.float32) for _ in range(50)]
    documents = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in documents]
    path = tmp_path / "small.serotine"
    with Index.create(path, dim=8, keep_vectors=False, nbits=4, centroids=64) as index:
        index.add(ids=[str(i) for i in range(50)], vectors=documents)
        index.compact()
        assert index.stats().coded_tokens == 400
    assert main(["export", str(path), str(tmp_path / "out.parquet"), "--to", "parquet"]) == 0
    assert "50 documents, 400 tokens (vectors rebuilt from 4-bit codes)" in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[0]["text"] is None
    vectors = np.array(rows[7]["vectors"], dtype=np.float32)
    assert not np.array_equal(vectors, documents[7].astype(np.float16))
    assert np.sum(vectors * documents[7], axis=1).mean() > 0.98
    assert maxsim.score(documents[7], vectors) == pytest.approx(8, abs=0.2)


def test_the_command_reports_the_export(index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    index.close()
    target = tmp_path / "out.parquet"
    assert main(["export", str(index.path), str(target), "--to", "parquet", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {name: report[name] for name in ("documents", "rebuilt", "format")} == {
        "documents": 5,
        "rebuilt": False,
        "format": "parquet",
    }
    assert main(["export", str(index.path), str(target), "--to", "parquet"]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["export", str(index.path), str(target)]) == 2
    assert main(["export", str(tmp_path / "missing"), str(tmp_path / "x"), "--to", "parquet"]) == 1


def test_an_empty_index(export: Callable[..., ExportReport], tmp_path: Path) -> None:
    with Index.create(tmp_path / "empty", dim=4) as index:
        assert export(index, tmp_path / "out") == ExportReport(0, 0, False)
    assert (tmp_path / "out").exists()


def test_a_failed_export_leaves_no_files(
    export: Callable[..., ExportReport], index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(tmp_path.iterdir())
    vectors = Index.vectors

    def interrupt(self: Index, id_: str) -> NDArray[np.float16]:
        if id_ == "d3":
            raise KeyboardInterrupt
        return vectors(self, id_)

    monkeypatch.setattr(Index, "vectors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(index, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_an_existing_target_is_rejected(export: Callable[..., ExportReport], index: Index, tmp_path: Path) -> None:
    (tmp_path / "existing").mkdir()
    (tmp_path / "existing" / "data").touch()
    with pytest.raises(SerotineError, match="already exists"):
        export(index, tmp_path / "existing")
    with pytest.raises(SerotineError, match="its folder does not exist"):
        export(index, tmp_path / "no" / "where")
    assert [entry.name for entry in (tmp_path / "existing").iterdir()] == ["data"]


def test_a_missing_library_names_the_extra(
    export: Callable[..., ExportReport], index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "pyarrow.parquet", "lancedb", "qdrant_edge"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SerotineError, match=r"pip install 'serotine\[(parquet|lancedb|qdrant)\]'"):
        export(index, tmp_path / "out")
