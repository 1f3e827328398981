"""The compression benchmark on a small collection of synthetic words, with real indexes."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder

pytest.importorskip("scipy", reason="token pooling needs SciPy (pip install 'serotine[pooling]')")

from serotine.bench import (
    Grid,
    OperatingPoint,
    compression_result,
    draw_compression,
    encode_collection,
    measure_compression,
)
from serotine.bench.encoded_collection import EncodedCollection
from serotine.cli import main
from serotine.evaluation import Collection, LateInteraction

WORDS = [f"w{i}" for i in range(400)]


@pytest.fixture(scope="module")
def collection() -> Collection:
    rng = np.random.default_rng(5)
    documents = {f"d{i}": " ".join(rng.choice(WORDS, 20)) for i in range(300)}
    # A query is six words of its one relevant document.
    queries = {f"q{i}": " ".join(documents[f"d{i}"].split()[:6]) for i in range(12)}
    return Collection("synthetic", documents, queries, {f"q{i}": {f"d{i}": 1} for i in range(12)})


@pytest.fixture(scope="module")
def encoded(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> EncodedCollection:
    exact = encode_collection(collection, WordEncoder(32), tmp_path_factory.mktemp("cache"))
    # Without noise a codebook would represent every word exactly.
    noise = np.random.default_rng(6).standard_normal(exact.vectors.shape) * 0.1
    vectors = exact.vectors + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EncodedCollection(collection, vectors.astype(np.float16), exact.offsets, exact.queries)


def measure(encoded: EncodedCollection, folder: Path, **grid: Any) -> list[OperatingPoint]:
    return measure_compression(encoded, Grid(**grid), folder / "indexes", rounds=1, timed=2, log=lambda message: None)


def test_codes_trade_recall_for_size_and_flat_is_exact(encoded: EncodedCollection, tmp_path: Path) -> None:
    two, eight, flat = measure(encoded, tmp_path, nbits=(2, 8, None))
    assert (flat.recall_at_10, flat.ndcg_at_10, flat.bytes_per_token) == (1.0, 1.0, 64.0)
    assert two.recall_at_10 < eight.recall_at_10 <= 1.0
    assert two.bytes_per_token < eight.bytes_per_token < flat.bytes_per_token
    assert eight.ndcg_at_10 == 1.0
    assert all(point.p50_ms > 0 and point.p95_ms >= point.p50_ms for point in (two, eight, flat))
    assert not (tmp_path / "indexes").exists()


def test_pooling_and_fewer_dimensions_reduce_bytes_per_token(encoded: EncodedCollection, tmp_path: Path) -> None:
    points = measure(encoded, tmp_path, nbits=(None,), dims=(32, 8), pool_factors=(1.0, 2.0))
    assert [(point.dim, point.pool_factor) for point in points] == [(32, 1), (32, 2), (8, 1), (8, 2)]
    full, pooled, reduced, both = points
    # 300 documents of a special token, which is not merged, and 20 words.
    assert (full.tokens, pooled.tokens) == (300 * 21, 300 * 11)
    assert pooled.bytes_per_token == pytest.approx(full.bytes_per_token * 11 / 21)
    assert reduced.bytes_per_token == full.bytes_per_token / 4
    assert both.bytes_per_token < reduced.bytes_per_token
    assert reduced.recall_at_10 < full.recall_at_10 == 1.0


def test_more_candidates_raise_recall(encoded: EncodedCollection, tmp_path: Path) -> None:
    few, many = measure(encoded, tmp_path, nbits=(8,), candidates=(10, 300))
    assert few.recall_at_10 < many.recall_at_10
    assert (few.setting, many.setting) == ("10 candidates", "300 candidates")


def test_principal_directions_beat_truncation(encoded: EncodedCollection, tmp_path: Path) -> None:
    # Vectors with most information in the last dimensions.
    scaled = (encoded.vectors.astype(np.float32) * np.linspace(0.05, 1, 32)).astype(np.float16)
    queries = [query * np.linspace(0.05, 1, 32, dtype=np.float32) for query in encoded.queries]
    changed = EncodedCollection(encoded.collection, scaled, encoded.offsets, queries)
    (pca,) = measure(changed, tmp_path, nbits=(None,), dims=(8,), reduction="pca")
    (truncated,) = measure(changed, tmp_path, nbits=(None,), dims=(8,), reduction="truncate")
    assert pca.recall_at_10 > truncated.recall_at_10


def test_encode_collection_reads_the_cache_of_eval(collection: Collection, tmp_path: Path) -> None:
    LateInteraction(WordEncoder(32), tmp_path).answer(collection, 10)

    class Failing(WordEncoder):
        def encode_documents(self, texts: Any) -> list[Any]:
            raise AssertionError("encoded again")

    cached = encode_collection(collection, Failing(32), tmp_path)
    encoded = encode_collection(collection, WordEncoder(32), tmp_path / "other")
    np.testing.assert_array_equal(cached.vectors, encoded.vectors)
    np.testing.assert_array_equal(cached.offsets, encoded.offsets)
    with pytest.raises(AssertionError, match="encoded again"):
        encode_collection(collection, Failing(32), tmp_path / "new")


def test_the_cache_of_another_encoder_is_not_read(collection: Collection, tmp_path: Path) -> None:
    encode_collection(collection, WordEncoder(32), tmp_path)
    assert encode_collection(collection, WordEncoder(16), tmp_path).vectors.shape[1] == 16


def test_the_chart_shows_every_point_in_both_panels(encoded: EncodedCollection, tmp_path: Path) -> None:
    points = measure(encoded, tmp_path, nbits=(2, None), dims=(32, 16))
    rows = compression_result(encoded, Grid(), WordEncoder(32), points)["searched"]
    svg = draw_compression(rows, "a < b")
    assert svg.count("nDCG@10 ") >= 2 * len(points)
    assert "a &lt; b" in svg
    assert "float16, all scored" in svg


def test_bench_compression_writes_json_and_a_chart(
    tmp_path: Path, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "synthetic"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": id_, "text": text}) for id_, text in collection.documents.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"_id": id_, "text": text}) for id_, text in collection.queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(lines))
    lines = [f"{query}\t{document}\t1" for query, grades in collection.qrels.items() for document in grades]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    from serotine.encoders.spec import TokenPooling

    class Fake(WordEncoder):
        class spec:  # noqa: N801
            pooling = TokenPooling()

    monkeypatch.setattr(import_module("serotine.cli.bench"), "load_encoder", lambda name: Fake(32))
    options = ["--nbits", "2", "--nbits", "flat", "--rounds", "1", "--timed", "2", "--cache", str(tmp_path / "cache")]
    outputs = ["--json", str(tmp_path / "c.json"), "--chart", str(tmp_path / "c.svg")]
    assert main(["bench", "compression", str(folder), *options, *outputs]) == 0
    result = json.loads((tmp_path / "c.json").read_text())
    assert [row["nbits"] for row in result["searched"]] == [2, None]
    assert result["collection"]["name"] == "synthetic"
    assert (tmp_path / "c.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dim", "64"], "--dim: must be at most 32, the dimensions of words, got 64"),
        (["--candidates", "few"], "must be at least 1, or default, got 'few'"),
    ],
)
def test_bench_compression_rejects_bad_options(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cranfield = Path(__file__).parent.parent / "examples" / "cranfield"
    monkeypatch.setattr(import_module("serotine.cli.bench"), "load_encoder", lambda name: WordEncoder(32))
    assert main(["bench", "compression", str(cranfield), *options]) == 2
    assert message in capsys.readouterr().err
