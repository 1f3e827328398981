"""The encoder: vectors independent of the batch, token spans, and errors for damaged folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serotine import Encoder, Index, maxsim, model_packages
from serotine.encoders import location
from serotine.encoders.batching import batches
from serotine.errors import EncoderError, TruncatedTextWarning

pytest.importorskip("serotine_mini", reason="serotine-mini is not installed (pip install ./models/serotine-mini)")

TEXTS = [
    "A short one.",
    "",
    "The serotine is a large bat that emerges late in the evening, " * 4,
    "Größe, naïve café — 東京",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of serotine-mini."""
    for name in ("tokenizer.json", "serotine.json", "model.safetensors"):
        shutil.copy(location.locate(None).folder / name, tmp_path)
    return tmp_path


def test_one_unit_vector_per_token(encoder: Encoder) -> None:
    for text, vectors in zip(TEXTS, encoder.encode_documents(TEXTS), strict=True):
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(encoder.tokens(text, query=False)), encoder.dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_vectors_do_not_depend_on_batch_or_order(encoder: Encoder) -> None:
    together = encoder.encode_documents(TEXTS)
    for text, vectors in zip(TEXTS, together, strict=True):
        (alone,) = encoder.encode_documents([text])
        np.testing.assert_allclose(vectors, alone, atol=1e-5)
        assert vectors.base is None, "a view would hold the whole batch in memory"
    backwards = encoder.encode_documents(TEXTS[::-1])[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(together, backwards, strict=True))


def test_offsets_point_into_the_original_text(encoder: Encoder) -> None:
    text = "  The Serotine's ÉLAN, at 10pm!  "
    for token in encoder.tokens(text, query=False):
        if token.text in ("[CLS]", "[SEP]"):
            assert token.start == token.end == 0
        else:
            assert text[token.start : token.end].lower().replace("é", "e") == token.text.removeprefix("##")


def test_a_truncated_text_still_ends_with_its_special_token(encoder: Encoder) -> None:
    tokens = encoder.tokens("word " * 1000, query=False)
    assert len(tokens) == 512
    assert tokens[-1].text == "[SEP]"
    with pytest.warns(TruncatedTextWarning, match=r"^texts: 1 of 2 longer .* is texts\[0\] with 1,000"):
        assert len(encoder.encode_documents(["word " * 1000, "short"])[0]) == 512
    # Truncation must not leak into later calls.
    assert len(encoder.tokens("short", query=False)) == 3


@pytest.mark.parametrize(
    ("texts", "error", "words"),
    [
        ("one string", TypeError, "texts: must be a list of strings, got str"),
        (["a", 3], TypeError, r"texts\[1\]: must be a string, got int"),
        (["a", "\udc00"], ValueError, r"texts\[1\]: contains a lone surrogate"),
    ],
)
def test_invalid_texts(encoder: Encoder, texts: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        encoder.encode_queries(texts)


def test_an_empty_list_gives_an_empty_list(encoder: Encoder) -> None:
    assert encoder.encode_queries([]) == []


def test_the_fingerprint_changes_with_the_settings(encoder: Encoder, folder: Path) -> None:
    same = Encoder(folder)
    assert same.fingerprint == encoder.fingerprint
    assert same.name == str(folder.resolve())
    assert np.array_equal(same.encode_queries(["a bat"])[0], encoder.encode_queries(["a bat"])[0])
    settings = json.loads((folder / "serotine.json").read_text())
    settings["document"]["length"] = 32
    (folder / "serotine.json").write_text(json.dumps(settings))
    shorter = Encoder(folder)
    assert shorter.fingerprint != encoder.fingerprint
    assert len(shorter.tokens("word " * 100, query=False)) == 32
    assert len(shorter.tokens("word " * 100, query=True)) == 64


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("query", {"length": 2}, "query length must be above 2, the special tokens, got 2"),
        ("document_lenght", 9, "unknown key 'document_lenght'; valid keys: backbone, "),
        ("output", "pooled", "'output' must be one of 'token_vectors', got 'pooled'"),
    ],
)
def test_invalid_settings(folder: Path, key: str, value: Any, words: str) -> None:
    settings = json.loads((folder / "serotine.json").read_text())
    (folder / "serotine.json").write_text(json.dumps(settings | {key: value}))
    with pytest.raises(EncoderError, match=words):
        Encoder(folder)


@pytest.mark.parametrize(("key", "value"), [("query", {"length": 600}), ("dim", 64)])
def test_settings_that_do_not_fit_the_model(
    folder: Path, key: str, value: int, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = json.loads((folder / "serotine.json").read_text())
    (folder / "serotine.json").write_text(json.dumps(settings | {key: value}))
    encoder = Encoder(folder)
    with (
        pytest.warns(TruncatedTextWarning),
        pytest.raises(
            EncoderError,
            match=r"at most 512 tokens, the model's positions, got 600|states must be \(tokens, 64\), got \(512, 128\)",
        ) as raised,
    ):
        (encoder.encode_queries if key == "query" else encoder.encode_documents)(["word " * 1000])
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_progress_goes_to_standard_error(
    encoder: Encoder, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a terminal: a line every ten seconds.
    monkeypatch.setattr("serotine.progress._INTERVAL", 0.0)
    encoder.encode_queries(["a", "b"], show_progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Encoding: 2 of 2 (100%)" in err


def test_a_damaged_model_is_rejected(folder: Path) -> None:
    model = folder / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(EncoderError, match=r"SHA-256 must be .* install the model again"):
        Encoder(folder)
    settings = json.loads((folder / "serotine.json").read_text())
    del settings["model_sha256"]
    (folder / "serotine.json").write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match="not a complete native model file") as raised:
        Encoder(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("serotine.json", "{", "is not valid JSON"),
        ("serotine.json", "[]", "must be a JSON object, got list"),
        ("serotine.json", '{"format": 1}', "'format' must be 2; export the encoder again"),
        ("serotine.json", '{"format": 2, "dim": "x"}', "'dim' must be int, got 'x'"),
        ("serotine.json", '{"format": 2, "origin": "dense", "dim": 3, "query": {}}', "'query.length' is missing"),
        ("tokenizer.json", "{}", "cannot be read as a tokenizer"),
        ("tokenizer.json", None, "is missing; the checkpoint is incomplete"),
        ("serotine.json", None, "'model_type' is missing|config.json: is missing"),
    ],
)
def test_folders_that_are_not_encoders(folder: Path, file: str, content: str | None, words: str) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(EncoderError, match=words):
        Encoder(folder)


def test_an_unknown_name_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncoderError, match="'nonesuch': not 'serotine-mini', a folder or a hub id"):
        Encoder("nonesuch")
    monkeypatch.setattr(model_packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        EncoderError, match=r"'serotine-mini': not installed; in a clone .* run: pip install \./models/serotine-mini"
    ):
        Encoder()


def test_the_default_is_serotine_mini() -> None:
    mini = Encoder()
    assert (mini.name, mini.dim, mini.spec.document.length) == ("serotine-mini", 128, 512)
    query, *passages = mini.encode_documents(
        ["when do bats leave their roost?", "Serotine bats emerge late in the evening.", "Heat transfer at a wall."]
    )
    near, far = (maxsim.score(query, [passage])[0] for passage in passages)
    assert near > far
    # Punctuation has no vectors.
    assert len(mini.encode_documents(["bats, late."])[0]) == len(mini.encode_documents(["bats late"])[0])


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 2000))
def test_batches_contain_every_item_once_within_budget(lengths: list[int], budget: int) -> None:
    result = list(batches(lengths, budget))
    assert sorted(item for batch in result for item in batch) == list(range(len(lengths)))
    for batch in result:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
        assert lengths[batch[0]] == max(lengths[i] for i in batch)


class Release020(Encoder):
    """serotine-mini 0.2.0, an ONNX file, as far as an index records it."""

    @property
    def fingerprint(self) -> str:
        return "8f90f635e69e709d"


def test_indexes_of_the_onnx_release_open_and_grow(tmp_path: Path) -> None:
    with Index.create(tmp_path / "old.serotine", encoder=Release020()) as index:
        index.add(ids=["bat"], texts=["The serotine is a late bat."])
        assert index.stats().arithmetic == "torch or ONNX"
    with Index.open(tmp_path / "old.serotine") as index:
        index.add(ids=["wall"], texts=["Heat transfer at a wall."])
        assert [hit.id for hit in index.search("heat", k=2)] == ["wall", "bat"]
