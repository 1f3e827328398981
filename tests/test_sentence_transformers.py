"""sentence-transformers 6: its models as encoders, Serotine's scoring in its losses, and saved models loaded by it."""

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
from serotine.encoders import MultiVectorAdapter, save_checkpoint  # noqa: E402
from serotine.errors import EncoderError, TruncatedTextWarning  # noqa: E402

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


@pytest.mark.filterwarnings("ignore::serotine.errors.TruncatedTextWarning")
def test_an_index_with_a_multi_vector_encoder(model: Any, folder: Path, tmp_path: Path) -> None:
    ids = list("abcd")
    with Index.create(tmp_path / "index", encoder=model) as index:
        index.add(ids, TEXTS)
        hits = index.search("which bat?", k=4)
    query = model.encode_query("which bat?", convert_to_numpy=True)
    scores = {
        id_: float((query @ rows.T).max(axis=1).sum())
        for id_, rows in zip(ids, model.encode_document(TEXTS, convert_to_numpy=True), strict=True)
    }
    assert [hit.id for hit in hits] == sorted(scores, key=lambda id_: -scores[id_])
    for hit in hits:
        assert hit.score == pytest.approx(scores[hit.id], abs=0.02)
    with Index.open(tmp_path / "index", encoder=model) as index:
        assert [hit.id for hit in index.search("which bat?", k=4)] == [hit.id for hit in hits]
        explanation = index.explain("which bat?", "a")
        assert explanation.score == pytest.approx(scores["a"], abs=0.02)
        assert "bat" in {"which bat?"[match.query_start : match.query_end] for match in explanation.matches}
        assert {TEXTS[0][match.start : match.end] for match in explanation.matches} <= {
            "",
            "Bats",
            "fly",
            "at",
            "night",
        }
    with Index.open(tmp_path / "index", read_only=True) as index:
        assert [hit.id for hit in index.search("which bat?", k=4)] == [hit.id for hit in hits], "loaded by its name"


def test_another_model_is_rejected(model: Any, folder: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=model):
        pass
    changed = MultiVectorEncoder(str(folder), device="cpu")
    assert MultiVectorAdapter(changed).fingerprint == MultiVectorAdapter(model).fingerprint
    with torch.no_grad():
        next(iter(changed.parameters()))[0, 0] += 1
    for other in (changed, MultiVectorEncoder(str(folder), device="cpu", prompts={"query": "other "})):
        with pytest.raises(EncoderError, match="was built with encoder 'sentence-transformers:"):
            Index.open(tmp_path / "index", encoder=other)


def test_a_missing_model(tmp_path: Path) -> None:
    folder = checkpoints.sentence_transformers(tmp_path / "model")
    with Index.create(tmp_path / "index", encoder=MultiVectorEncoder(str(folder), device="cpu")) as index:
        index.add(["a"], ["a bat"])
    folder.rename(tmp_path / "moved")
    with Index.open(tmp_path / "index") as index, pytest.raises(EncoderError, match="cannot be loaded"):
        index.search("a bat")


@pytest.mark.parametrize("query", [True, False])
def test_tokens_and_spans_equal_those_of_the_encoder(model: Any, folder: Path, query: bool) -> None:
    adapter, encoder = MultiVectorAdapter(model), Encoder(folder, device="cpu")
    for text in [*TEXTS, "", "  spaces   within  "]:
        (vectors,) = adapter.encode_queries([text]) if query else adapter.encode_documents([text])
        tokens = adapter.tokens(text, query=query)
        assert len(tokens) == len(vectors)
        assert tokens == encoder.tokens(text, query=query)


def test_token_spans_of_long_texts_equal_those_of_the_encoder(model: Any, folder: Path) -> None:
    adapter, encoder = MultiVectorAdapter(model), Encoder(folder, device="cpu")
    model.encode_document(["this call leaves the tokenizer with truncation"])
    text = "Bats fly late. " * 500
    (spans,), (expected,) = adapter.token_spans([text]), encoder.token_spans([text])
    assert spans.tolist() == expected.tolist()
    assert len(spans) > adapter.document_room == encoder.document_room


def test_a_concurrent_query_does_not_change_a_documents_truncation(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, text = MultiVectorAdapter(model), "Bats fly late. " * 500
    (expected,), (other,) = adapter.encode_documents([text]), adapter.encode_queries(["x"])
    tokenizer, concurrent = model.tokenizer, []
    set_truncation_and_padding = tokenizer.set_truncation_and_padding

    def interrupt(*arguments: Any, **options: Any) -> None:
        set_truncation_and_padding(*arguments, **options)
        if not concurrent:
            # Between the tokenizer's configuration and its use: the thread either waits, or runs now.
            concurrent.append(threading.Thread(target=lambda: concurrent.append(adapter.encode_queries(["x"]))))
            concurrent[0].start()
            concurrent[0].join(1)

    monkeypatch.setattr(tokenizer, "set_truncation_and_padding", interrupt)
    (vectors,) = adapter.encode_documents([text])
    concurrent[0].join()
    np.testing.assert_array_equal(vectors, expected)
    np.testing.assert_array_equal(concurrent[1][0], other)


def test_pooled_tokens_have_no_spans(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pooled = {"pool_factor": 2.0, "num_protected_tokens": 1, "normalize_embeddings": True, "tasks": ["document"]}
    folder = checkpoints.sentence_transformers(tmp_path / "model", pooling=pooled)
    adapter = MultiVectorAdapter(MultiVectorEncoder(str(folder), device="cpu"))
    with pytest.raises(EncoderError, match="merges tokens"):
        adapter.tokens("bats owls moths beetles spiders", query=False)
    assert adapter.tokens("bats", query=True)


def test_colbert_scores_in_a_loss(model: Any) -> None:
    from sentence_transformers.multi_vector_encoder import losses

    columns = [["which bat?", "what hunts?"], TEXTS[:2], TEXTS[2:]]
    features = [model.preprocess(texts, task="query" if i == 0 else "document") for i, texts in enumerate(columns)]
    results = []
    for options in ({}, {"similarity_fct": maxsim.colbert_scores}):
        model.zero_grad()
        loss = losses.MultiVectorMultipleNegativesRankingLoss(model, **options)
        value = loss([dict(column) for column in features], None)
        value.backward()
        results.append((value.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (expected, expected_gradients), (loss, gradients) = results
    assert expected == pytest.approx(loss, abs=1e-4)
    assert max(float(gradient.abs().max()) for gradient in expected_gradients) > 1e-3
    for reference, gradient in zip(expected_gradients, gradients, strict=True):
        torch.testing.assert_close(reference, gradient, atol=1e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::serotine.errors.TruncatedTextWarning")
@pytest.mark.parametrize("format_", ["sentence-transformers", "pylate"])
def test_saved_models_load_in_sentence_transformers(tmp_path: Path, format_: Any) -> None:
    encoder = Encoder(checkpoints.stanford(tmp_path / "stanford"), device="cpu")
    save_checkpoint(encoder, tmp_path / "saved", format=format_)
    model = MultiVectorEncoder(str(tmp_path / "saved"), device="cpu")
    documents = model.encode_document(TEXTS, convert_to_numpy=True)
    for vectors, expected in zip(documents, encoder.encode_documents(TEXTS), strict=True):
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    (query,) = encoder.encode_queries(["which bat?"])
    np.testing.assert_allclose(model.encode_query("which bat?", convert_to_numpy=True), query, atol=1e-5)


@pytest.mark.parametrize("query", [False, True])
def test_coverage_counts_what_the_model_reads(model: Any, query: bool) -> None:
    adapter = MultiVectorAdapter(model)
    encode = model.encode_query if query else model.encode_document
    for text, coverage in zip(TEXTS, adapter.coverage(TEXTS, query=query), strict=True):
        assert coverage.tokens == len(adapter.token_spans([text])[0])
        longer, shorter = (encode([text + end], convert_to_numpy=True)[0] for end in (" bat", ""))
        # What follows a text that is too long changes nothing.
        unread = longer.shape == shorter.shape and bool(np.allclose(longer, shorter, atol=1e-5))
        assert (coverage.tokens >= coverage.limit) == unread
    (coverage,) = adapter.coverage(["A 🦇 bat"], query=query)
    assert [(start, end) for start, end in coverage.unknown] == [(2, 3)]


def test_a_multi_vector_encoder_warns_as_others_do(model: Any, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", encoder=model) as index:
        with pytest.warns(TruncatedTextWarning, match="texts: 1 of 2 longer than"):
            index.add(["a", "b"], [TEXTS[0], TEXTS[2]])
        with pytest.warns(TruncatedTextWarning, match="^query: longer than"):
            hits = index.search("which bat? " * 60)
        assert [type(warning) for warning in hits.warnings] == [TruncatedTextWarning]
