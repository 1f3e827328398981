"""Mode "pooled" of the commands, over HTTP, of the client and as an MCP tool."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers.cli_fake import FakeEncoder
from helpers.serving_cases import application, expect_error
from numpy.typing import NDArray

# Importing the fixture makes it available to this module's tests.
from test_cli import TEXTS, Shell, shell, write_jsonl

import serotine.encoders
from serotine import Index
from serotine.client import parsing
from serotine.serving.mcp.indexes import ServedIndexes
from serotine.serving.mcp.listing import list_indexes
from serotine.serving.mcp.schemas import ListArguments, SearchArguments
from serotine.serving.mcp.search import search as mcp_search

__all__ = ["shell"]
DIM = 64
# A dense model knows that these words mean the same.
SAME = {"dusk": "evening", "nap": "sleeps"}


class DenseFake(FakeEncoder):
    """A `FakeEncoder` that has a vector of a whole text, if its name begins with "dense"."""

    def __init__(self, name_or_path: str | None = None, **_options: object) -> None:
        super().__init__(name_or_path)
        self.name = name_or_path or "fake"
        self.fingerprint = f"fake-{self.name}"
        self.pooled_dim = DIM if self.name.startswith("dense") else None
        self.pooled_similarity = "cosine" if self.pooled_dim else None

    def encode_pooled(self, texts: Sequence[str], *, query: bool) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), DIM), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(".", "").split():
                row[zlib.crc32(SAME.get(word, word).encode()) % DIM] += 1
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


@pytest.fixture
def dense(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(serotine.encoders, "Encoder", DenseFake)
    return shell


@pytest.fixture
def pooled(dense: Shell) -> Iterator[Shell]:
    """A shell with an index i.serotine of the encoder "fake" and pooled vectors of "dense-model"."""
    dense("index", "corpus.jsonl", "-o", "i.serotine", "--encoder", "fake", "--pooled", "dense-model")
    return dense


def test_weights_of_words_and_meaning(pooled: Shell) -> None:
    by_words = pooled.json("search", "i.serotine", "evening day", "--mode", "hybrid", "--weights", 0, 1, "-k", 3)
    with Index.open("i.serotine", encoder=DenseFake()) as index:
        expected = index.search("evening day", k=3, mode="hybrid", weights=(0, 1))
    assert [(hit["id"], hit["score"]) for hit in by_words["hits"]] == [(hit.id, hit.score) for hit in expected]


def ids(result: dict[str, list[dict[str, str]]]) -> list[str]:
    return [hit["id"] for hit in result["hits"]]


def test_search_ranks_by_both_and_says_so(pooled: Shell) -> None:
    alone = pooled.json("search", "i.serotine", "dusk nap", "--mode", "pooled", "--weights", 0, 1, "-k", 3)
    assert ids(alone)[0] == "cat"
    assert (alone["mode"], alone["weights"], alone["first_stage"]) == ("pooled", [0.0, 1.0], None)
    assert alone["stats"]["plan"] == "pooled"
    both = pooled.json("search", "i.serotine", "bats nap", "--mode", "pooled", "--weights", 1, 0.5, "-k", 3)
    expected = {}
    with Index.open("i.serotine", encoder=DenseFake(), pooled=DenseFake("dense-model")) as index:
        for hit in index.search("bats nap", k=3, mode="pooled", weights=(1, 0.5)):
            expected[hit.id] = hit.score
    assert {hit["id"]: hit["score"] for hit in both["hits"]} == expected
    shown = pooled("search", "i.serotine", "bats nap", "--mode", "pooled", "--verbose", "-k", 1)
    assert "per query token)" in shown
    assert "3 documents by their vectors, 3 by their pooled vectors in" in shown
    first = pooled("search", "i.serotine", "bats nap", "--mode", "pooled", "--first-stage", "pooled", "--verbose")
    assert "3 documents by their pooled vectors, 3 by their MaxSim in" in first
    assert "Exact:" in pooled("search", "i.serotine", "bats nap", "--mode", "pooled", "--exact")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", 1, 2], "--weights: needs --mode hybrid or pooled, got --mode late"),
        (["--mode", "pooled", "--weights", 0, 0], "--weights: must be finite and not both 0, got 0 0"),
        (["--mode", "pooled", "--weights", 1, "nan"], "--weights: must be finite and not both 0, got 1 nan"),
        (["--first-stage", "tokens"], "--first-stage: needs --mode pooled, got --mode late"),
        (["--mode", "hybrid", "--exact"], "--exact: needs --mode late or pooled, got --mode hybrid"),
        (["--mode", "pooled", "--k-token", 50], "--k-token: needs --mode xtr, got --mode pooled"),
    ],
)
def test_options_of_other_modes_are_refused(pooled: Shell, options: list[object], message: str) -> None:
    assert message in pooled.fails("search", "i.serotine", "bats", *options, status=2)


def test_an_index_without_pooled_vectors_says_how_to_get_them(dense: Shell) -> None:
    dense("index", "corpus.jsonl", "-o", "plain.serotine", "--encoder", "fake")
    message = dense.fails("search", "plain.serotine", "bats", "--mode", "pooled", status=2)
    assert "plain.serotine stores none; index with --pooled, or choose another --mode" in message
    again = dense.fails("index", "corpus.jsonl", "-o", "plain.serotine", "--pooled", "dense-model", status=2)
    assert "--pooled dense-model: the index was created without pooled vectors; leave the option out" in again
    dense(
        "index", "corpus.jsonl", "-o", "plain.serotine", "--encoder", "fake", "--pooled", "dense-model", "--overwrite"
    )
    assert dense.json("info", "plain.serotine")["pooled"]["encoder"] == "dense-model"
    dense("index", "corpus.jsonl", "-o", "plain.serotine", "--encoder", "fake", "--overwrite")
    assert "the new index has no pooled vectors; --pooled dense-model stores them again" in dense.err
    assert dense.json("info", "plain.serotine")["pooled"] is None


def test_a_run_again_keeps_the_model(pooled: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", {**TEXTS, "owl": "Owls hunt in the evening."})
    assert pooled.json("index", "corpus.jsonl", "-o", "i.serotine")["added"] == 1
    assert pooled.json("index", "corpus.jsonl", "-o", "i.serotine", "--pooled", "dense-model")["added"] == 0
    (tmp_path / "more.txt").write_text("Dusk is late.")
    pooled("add", "i.serotine", "more.txt")
    found = pooled.json("search", "i.serotine", "dusk", "--mode", "pooled", "--weights", 0, 1, "-k", 9)
    assert len(ids(found)) == 5
    other = pooled.fails("index", "corpus.jsonl", "-o", "i.serotine", "--pooled", "dense-other")
    assert "was built with pooled vectors of 'dense-model'" in other
    own = pooled.fails("index", "corpus.jsonl", "-o", "i.serotine", "--pooled", "encoder", status=2)
    assert "--pooled encoder: the index was created with --pooled dense-model; leave the option out" in own


def test_the_vectors_of_the_encoder_itself(dense: Shell) -> None:
    message = dense.fails(
        "index", "corpus.jsonl", "-o", "i.serotine", "--encoder", "fake", "--pooled", "encoder", status=2
    )
    assert "--pooled encoder: 'fake' has no vector of a whole text; name a dense model, such as" in message
    assert not Path("i.serotine").exists()
    for _ in range(2):
        dense("index", "corpus.jsonl", "-o", "i.serotine", "--encoder", "dense", "--pooled", "encoder")
    info = dense.json("info", "i.serotine")
    assert (info["encoder"], info["pooled"]["encoder"]) == ("dense", "dense")
    shown = dense("index", "corpus.jsonl", "-o", "new", "--encoder", "dense", "--pooled", "encoder", "--dry-run")
    assert "and the pooled" not in shown


def test_a_dry_run_says_that_another_model_reads_the_texts_too(pooled: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", {**TEXTS, "owl": "Owls hunt in the evening."})
    assert "and the pooled vectors of dense-model" in pooled("index", "corpus.jsonl", "-o", "i.serotine", "--dry-run")
    new = ("index", "corpus.jsonl", "-o", "new.serotine", "--pooled", "dense-model", "--dry-run")
    assert pooled.json(*new)["pooled"] == "dense-model"


def test_info_names_model_and_weights(pooled: Shell) -> None:
    with Index.open("i.serotine", encoder=DenseFake()) as index:
        index.set_pooled_weights(1, 0.25)
    shown = pooled("info", "i.serotine")
    assert "Pooled    one vector per document, of dense-model (64 dimensions, cosine), " in shown
    assert "weights of --mode pooled: 1 0.25 (fitted)." in shown
    assert pooled.json("info", "i.serotine")["pooled"]["weights"] == [1.0, 0.25]


def test_texts_are_not_added_where_callers_give_the_vectors(dense: Shell) -> None:
    Index.create("given.serotine", encoder=DenseFake(), pooled=3).close()
    message = dense.fails("add", "given.serotine", "corpus.jsonl")
    assert "given.serotine: has no model for its pooled vectors; add texts with their vectors from Python" in message


def judged(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", TEXTS)
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "dusk nap"}) + "\n")
    for split in ("dev", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq\tcat\t1\n")
    return folder


def test_eval_searches_with_both(pooled: Shell, tmp_path: Path) -> None:
    folder = judged(tmp_path / "judged")
    arguments = ("eval", "--index", "i.serotine", folder, "--metrics", "RR@10")
    result = pooled.json(*arguments, "--mode", "pooled", "--weights", 0, 1)["results"][0]
    assert result["metrics"]["RR@10"] == 1
    assert result["system"].endswith("i.serotine (pooled 0 1)")
    assert pooled.json(*arguments, "--mode", "pooled", "--first-stage", "tokens")["results"][0]["metrics"]["RR@10"] > 0
    assert "--weights: needs --mode pooled" in pooled.fails(*arguments, "--weights", 1, 1, status=2)


def test_tune_fits_the_weights_on_a_split(pooled: Shell, tmp_path: Path) -> None:
    folder = judged(tmp_path / "judged")
    fitted = pooled.json("tune", "i.serotine", "--pooled-weights", folder)
    assert fitted["weights"][0] == 1
    assert fitted["with_pooled"] >= fitted["without"]
    info = pooled.json("info", "i.serotine")["pooled"]
    assert (info["weights"], info["fitted"]) == (fitted["weights"], True)
    assert pooled.err.count("warning") == 0
    assert "i.serotine: Weights (1, " in pooled("tune", "i.serotine", "--pooled-weights", folder, "--split", "test")
    assert "warning: --split test: figures on it no longer judge these weights; fit them on a split" in pooled.err
    pooled("index", "corpus.jsonl", "-o", "plain.serotine", "--encoder", "fake")
    for arguments, message in (
        (["--pooled-weights", folder, "--split", "train"], "train"),
        (["--split", "dev"], "--split: needs --pooled-weights"),
        (["--pooled-weights", folder, "--queries", folder / "queries.jsonl"], "exclude each other; choose one"),
    ):
        assert message in pooled.fails("tune", "i.serotine", *arguments, status=1 if "train" in arguments else 2)
    for command in (["tune", "plain.serotine", "--pooled-weights", folder],
                    ["eval", "--index", "plain.serotine", "--mode", "pooled", folder]):  # fmt: skip
        assert "plain.serotine: stores no pooled vectors; " in pooled.fails(*command)


def test_http_has_the_mode_and_its_options(pooled: Shell, tmp_path: Path) -> None:
    with application(tmp_path / "state", tmp_path / "i.serotine") as client:
        url = "/v1/indexes/i/search"
        body = {"query": "dusk nap", "mode": "pooled", "weights": [0, 1], "k": 2}
        found = client.post(url, json=body).json()
        assert ids(found)[0] == "cat"
        assert found["stats"]["plan"] == "pooled"
        staged = client.post(url, json={**body, "weights": [1, 1], "first_stage": "pooled"}).json()
        assert staged["stats"]["plan"] == "pooled + maxsim"
        several = client.post("/v1/search", json={**body, "indexes": ["i"]}).json()
        assert ids(several)[0] == "cat"
        wrong = client.post(url, json={"query": "dusk", "first_stage": "pooled"})
        assert "first_stage" in expect_error(wrong, 422, "bad_value")
        wrong = client.post(url, json={**body, "first_stage": "words"})
        assert "first_stage" in expect_error(wrong, 422, "bad_value")
        vectors = {"vectors": [[0.0] * 16], "mode": "pooled"}
        message = expect_error(client.post(url, json=vectors), 422, "bad_value")
        assert message == "mode: pooled needs a text, got vectors; send 'query', or use \"late\""
        program = client.post(url, json=vectors, headers={"Serotine-Client": "python"})
        assert expect_error(program, 422, "bad_value").endswith('; search for a text, or use mode="late"')
        document = {"id": "x", "vectors": [[0.0] * 16]}
        refused = client.post("/v1/indexes/i/documents", json={"documents": [document]})
        assert expect_error(refused, 422, "bad_value").endswith("no texts to encode were given; send texts")
        added = client.post("/v1/indexes/i/documents", json={"documents": [{"id": "owl", "text": "Dusk."}]})
        assert added.json()["added"] == 1
        stats = client.get("/v1/indexes/i").json()
        assert stats["pooled"]["encoder"] == "dense-model"
        assert parsing.stats(stats).pooled is not None
        options = client.get("/openapi.json").json()["components"]["schemas"]["SearchRequestBody"]["properties"]
        assert "pooled" in json.dumps(options["mode"])
        assert "pooled" in options["first_stage"]["description"]


def test_the_tool_offers_the_mode_where_an_index_has_it(pooled: Shell, tmp_path: Path) -> None:
    pooled("index", "corpus.jsonl", "-o", "plain.serotine", "--encoder", "fake")
    with closing(ServedIndexes([tmp_path / "i.serotine", tmp_path / "plain.serotine"])) as served:
        listed = {one.name: one.modes for one in list_indexes(served, ListArguments())[0].indexes}
        assert listed == {"i": ["late", "bm25", "hybrid", "pooled"], "plain": ["late", "bm25", "hybrid"]}
        result, _ = mcp_search(served, SearchArguments(query="dusk", index="i", mode="pooled"))
        assert result.hits[0].score_per_token is not None
