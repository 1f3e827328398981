"""Pooled vectors equal sentence-transformers' own, for every pooling mode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from helpers import checkpoints
from sentence_transformers import SentenceTransformer

from serotine import Encoder
from serotine.encoders import pooling_modes
from serotine.errors import EncoderError
from serotine.evaluation import Collection, Pooled

MODES = ["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "cls+mean"]
TEXTS = [text for text in checkpoints.TEXTS if text.strip()]


def theirs(folder: Path, *, query: bool) -> Any:
    model = SentenceTransformer(str(folder), device="cpu")
    encode = model.encode_query if query else model.encode_document
    return encode(TEXTS, convert_to_numpy=True)


def ours(folder: Path, **options: Any) -> Encoder:
    with pytest.warns(Warning, match="zero-shot"):
        return Encoder(folder, backend="torch", device="cpu", **options)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "mode", ["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "cls+mean"]
)
@pytest.mark.parametrize("prompted", [False, True])
def test_every_pooling_mode_equals_sentence_transformers(tmp_path: Path, mode: str, prompted: bool) -> None:
    prompts = {"query": "ask: ", "document": "say: "} if prompted else {}
    folder = checkpoints.dense(tmp_path / "m", prompts=prompts, include_prompt=not prompted)
    settings = folder / "1_Pooling" / "config.json"
    values = json.loads(settings.read_text())
    keys = {
        "max": "max_tokens",
        "mean": "mean_tokens",
        "cls": "cls_token",
        "weightedmean": "weightedmean_tokens",
        "lasttoken": "lasttoken",
        "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    }
    modes = {f"pooling_mode_{key}": name in mode.split("+") for name, key in keys.items()}
    settings.write_text(json.dumps(values | modes))
    encoder = ours(folder)
    for query in (True, False):
        vectors = encoder.encode_pooled(TEXTS, query=query)
        np.testing.assert_allclose(vectors, theirs(folder, query=query), atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.filterwarnings("default")
def test_a_model_that_compares_by_dot_product_is_not_scaled(tmp_path: Path) -> None:
    folder = checkpoints.dense(tmp_path / "m")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    config = folder / "config_sentence_transformers.json"
    config.write_text(json.dumps({"similarity_fn_name": "dot"}))
    encoder = ours(folder)
    vectors = encoder.encode_pooled(TEXTS, query=False)
    np.testing.assert_allclose(vectors, theirs(folder, query=False), atol=1e-5)
    assert np.ptp(np.linalg.norm(vectors, axis=1)) > 0.01
    collection = Collection("c", {str(i): text for i, text in enumerate(TEXTS)}, {"q": TEXTS[0]}, {"q": {"0": 1}})
    answer = Pooled(encoder).answer(collection, 3)
    scores = vectors @ encoder.encode_pooled([TEXTS[0]], query=True)[0]
    assert list(answer.run["q"]) == [str(i) for i in np.argsort(-scores, kind="stable")[:3]]
    assert answer.record["retrieval"] == "exact dot of one float32 vector per text"
    config.write_text(json.dumps({"similarity_fn_name": "manhattan"}))
    with pytest.raises(EncoderError, match="similarity must be one of 'cosine', 'dot', got 'manhattan'"):
        pooling_modes(ours(folder).spec)


@pytest.mark.filterwarnings("default")
def test_plain_transformers_and_matryoshka(tmp_path: Path) -> None:
    checkpoints.backbone("bert", tmp_path / "m")
    encoder = ours(tmp_path / "m")
    states = encoder.token_states(TEXTS, query=False)
    means = np.stack([token_states.mean(axis=0) for token_states in states])
    vectors = encoder.encode_pooled(TEXTS, query=False)
    np.testing.assert_allclose(vectors, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)
    short = ours(tmp_path / "m", dim=8).encode_pooled(TEXTS, query=False)
    np.testing.assert_allclose(short, vectors[:, :8] / np.linalg.norm(vectors[:, :8], axis=1, keepdims=True), atol=1e-6)
    assert encoder.encode_pooled([], query=True).shape == (0, checkpoints.HIDDEN)


@pytest.mark.filterwarnings("default")
def test_a_late_interaction_encoder_cannot_pool(tmp_path: Path) -> None:
    encoder = Encoder(checkpoints.pylate(tmp_path / "late"), device="cpu")
    with pytest.raises(EncoderError, match="a late-interaction encoder has no single vector per text"):
        encoder.encode_pooled(["x"], query=True)
    with pytest.raises(EncoderError, match="no single vector per text"):
        Pooled(encoder)


@pytest.mark.filterwarnings("default")
def test_query_length_can_be_changed(tmp_path: Path) -> None:
    long = "a long query about bats " * 20
    folder = checkpoints.pylate(tmp_path / "late")
    encoder = Encoder(folder, device="cpu")
    shorter = encoder.with_query_length(20)
    # As in PyLate, queries are truncated and expanded to the new length.
    assert [len(encoder.encode_queries([text])[0]) for text in ("bats", long)] == [32, 32]
    assert [len(shorter.encode_queries([text])[0]) for text in ("bats", long)] == [20, 20]
    assert shorter.backend is encoder.backend
    reloaded = Encoder(folder, device="cpu", **shorter.options)
    assert reloaded.fingerprint == shorter.fingerprint != encoder.fingerprint
    np.testing.assert_array_equal(reloaded.encode_queries([long])[0], shorter.encode_queries([long])[0])
    np.testing.assert_array_equal(shorter.encode_documents([long])[0], encoder.encode_documents([long])[0])
    with pytest.raises(ValueError, match="query_length: must be an integer of at least 1, got 0"):
        encoder.with_query_length(0)
    with pytest.raises(EncoderError, match=r"query length must be above 3, the special tokens, got 2"):
        encoder.with_query_length(2)
