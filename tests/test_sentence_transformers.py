"""sentence-transformers 6: its models as an index's encoder, our scoring in its losses, our models loaded there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from helpers import checkpoints  # noqa: E402
from sentence_transformers import MultiVectorEncoder  # noqa: E402

from serotine import Encoder, Index, maxsim  # noqa: E402
from serotine.encoders import MultiVectorAdapter, saving  # noqa: E402
from serotine.errors import EncoderError  # noqa: E402

TEXTS = ["Bats fly at night.", "Owls hunt in the dark, quietly!", "A serotine is a bat. " * 30, "Ünïcode ﬁghts 東京"]
EXPANDING = {"strategy": "fixed", "attend": False, "token": None, "length": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.sentence_transformers(
        tmp_path_factory.mktemp("v6"),
        transformer={"query_expansion": EXPANDING, "document_length": 40},
        prompts={"query": "[unused0] ask ", "document": "[unused1] "},
    )


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return MultiVectorEncoder(str(folder), device="cpu")


def test_an_index_takes_the_model(model: Any, folder: Path, tmp_path: Path) -> None:
    ids = list("abcd")
    with Index.create(tmp_path / "index", encoder=model) as index:
        index.add(ids, TEXTS)
        found = index.search("which bat?", k=4)
    question = model.encode_query("which bat?", convert_to_numpy=True)
    scores = {
        id_: float((question @ rows.T).max(axis=1).sum())
        for id_, rows in zip(ids, model.encode_document(TEXTS, convert_to_numpy=True), strict=True)
    }
    assert [hit.id for hit in found] == sorted(scores, key=lambda id_: -scores[id_])
    for hit in found:
        assert hit.score == pytest.approx(scores[hit.id], abs=0.02)
    with Index.open(tmp_path / "index", encoder=model) as index:
        assert [hit.id for hit in index.search("which bat?", k=4)] == [hit.id for hit in found]
        told = index.explain("which bat?", "a")
        assert told.score == pytest.approx(scores["a"], abs=0.02)
        assert "bat" in {"which bat?"[match.query_start : match.query_end] for match in told.matches}
        assert {TEXTS[0][match.start : match.end] for match in told.matches} <= {"", "Bats", "fly", "at", "night"}
    with Index.open(tmp_path / "index", read_only=True) as index:
        assert [hit.id for hit in index.search("which bat?", k=4)] == [hit.id for hit in found], "loaded by its name"


def test_another_model_is_refused(model: Any, folder: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=model):
        pass
    changed = MultiVectorEncoder(str(folder), device="cpu")
    assert MultiVectorAdapter(changed).fingerprint == MultiVectorAdapter(model).fingerprint
    with torch.no_grad():
        next(iter(changed.parameters()))[0, 0] += 1
    for other in (changed, MultiVectorEncoder(str(folder), device="cpu", prompts={"query": "other "})):
        with pytest.raises(EncoderError, match="was built with encoder 'sentence-transformers:"):
            Index.open(tmp_path / "index", encoder=other)


def test_a_model_that_cannot_be_loaded_again(tmp_path: Path) -> None:
    folder = checkpoints.sentence_transformers(tmp_path / "model")
    with Index.create(tmp_path / "index", encoder=MultiVectorEncoder(str(folder), device="cpu")) as index:
        index.add(["a"], ["a bat"])
    folder.rename(tmp_path / "elsewhere")
    with Index.open(tmp_path / "index") as index, pytest.raises(EncoderError, match="cannot be loaded"):
        index.search("a bat")


@pytest.mark.parametrize("query", [True, False])
def test_tokens_and_their_places_are_those_of_our_own_encoder(model: Any, folder: Path, query: bool) -> None:
    adapter, own = MultiVectorAdapter(model), Encoder(folder, device="cpu")
    for text in [*TEXTS, "", "  spaces   within  "]:
        (vectors,) = adapter.encode_queries([text]) if query else adapter.encode_documents([text])
        tokens = adapter.tokens(text, query=query)
        assert len(tokens) == len(vectors)
        assert tokens == own.tokens(text, query=query)


def test_long_texts_are_counted_as_our_own_encoder_counts_them(model: Any, folder: Path) -> None:
    adapter, own = MultiVectorAdapter(model), Encoder(folder, device="cpu")
    model.encode_document(["truncation is as the last call left it"])
    text = "Bats fly late. " * 500
    (spans,), (expected,) = adapter.token_spans([text]), own.token_spans([text])
    assert spans.tolist() == expected.tolist()
    assert len(spans) > adapter.document_room == own.document_room


def test_a_question_of_another_thread_does_not_change_how_a_document_is_cut(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, text = MultiVectorAdapter(model), "Bats fly late. " * 500
    (expected,), (other,) = adapter.encode_documents([text]), adapter.encode_queries(["x"])
    tokenizer, asked = model.tokenizer, []
    told = tokenizer.set_truncation_and_padding

    def interrupted(*arguments: Any, **options: Any) -> None:
        told(*arguments, **options)
        if not asked:
            # Between what the tokenizer is told and what it does: the thread either waits, or gets through now.
            asked.append(threading.Thread(target=lambda: asked.append(adapter.encode_queries(["x"]))))
            asked[0].start()
            asked[0].join(1)

    monkeypatch.setattr(tokenizer, "set_truncation_and_padding", interrupted)
    (found,) = adapter.encode_documents([text])
    asked[0].join()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(asked[1][0], other)


def test_pooled_tokens_have_no_places(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pooled = {"pool_factor": 2.0, "num_protected_tokens": 1, "normalize_embeddings": True, "tasks": ["document"]}
    folder = checkpoints.sentence_transformers(tmp_path / "model", pooling=pooled)
    adapter = MultiVectorAdapter(MultiVectorEncoder(str(folder), device="cpu"))
    with pytest.raises(EncoderError, match="merges tokens"):
        adapter.tokens("bats owls moths beetles spiders", query=False)
    assert adapter.tokens("bats", query=True)


def test_our_scoring_in_a_loss(model: Any) -> None:
    from sentence_transformers.multi_vector_encoder import losses

    columns = [["which bat?", "what hunts?"], TEXTS[:2], TEXTS[2:]]
    features = [model.preprocess(texts, task="query" if i == 0 else "document") for i, texts in enumerate(columns)]
    found = []
    for options in ({}, {"similarity_fct": maxsim.colbert_scores}):
        model.zero_grad()
        loss = losses.MultiVectorMultipleNegativesRankingLoss(model, **options)
        value = loss([dict(one) for one in features], None)
        value.backward()
        found.append((value.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-4)
    assert max(float(one.abs().max()) for one in found[0][1]) > 1e-3
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("format_", ["sentence-transformers", "pylate"])
def test_our_models_load_there(tmp_path: Path, format_: Any) -> None:
    encoder = Encoder(checkpoints.stanford(tmp_path / "stanford"), device="cpu")
    saving.save(encoder, tmp_path / "saved", format=format_)
    theirs = MultiVectorEncoder(str(tmp_path / "saved"), device="cpu")
    found = theirs.encode_document(TEXTS, convert_to_numpy=True)
    for vectors, wanted in zip(found, encoder.encode_documents(TEXTS), strict=True):
        np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    (question,) = encoder.encode_queries(["which bat?"])
    np.testing.assert_allclose(theirs.encode_query("which bat?", convert_to_numpy=True), question, atol=1e-5)
