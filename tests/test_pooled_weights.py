"""The weights of mode "pooled", fitted on judged queries and recorded in the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.fakes import DenseEncoder, WordEncoder
from numpy.typing import NDArray

pytest.importorskip("ir_measures")

from serotine import Index
from serotine.errors import EncoderError, ReadOnlyError, SerotineError
from serotine.evaluation import Collection, evaluate, fit_pooled_weights

DOCUMENTS = {f"d{i}": f"bat {i} of the barn w{i % 5}" for i in range(20)}
QUERIES = {f"q{i}": f"bat {i} w{(i + 1) % 5}" for i in range(6)}


class Oracle(DenseEncoder):
    """A dense model whose vectors say which document answers a query."""

    def encode_pooled(self, texts: object, *, query: bool) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), 32), dtype=np.float32)  # type: ignore[arg-type]
        for row, text in zip(rows, texts, strict=True):  # type: ignore[call-overload]
            # Query i is answered by document i + 7.
            row[(int(text.split()[1]) + (7 if query else 0)) % 32] = 1
        return rows


def collection(answer: int) -> Collection:
    qrels = {query: {f"d{int(query[1:]) + answer}": 1} for query in QUERIES}
    return Collection("toy", DOCUMENTS, QUERIES, qrels)


def build(path: Path) -> Index:
    index = Index.create(path, encoder=WordEncoder(), pooled=Oracle())
    index.add(list(DOCUMENTS), list(DOCUMENTS.values()))
    return index


def test_the_weight_that_ranks_best_is_recorded(tmp_path: Path) -> None:
    with build(tmp_path / "x") as index:
        fitted = fit_pooled_weights(index, collection(7), weights=[0.1, 1, 2, 4])
        assert fitted.weights[0] == 1
        assert fitted.weights[1] == min(weight for weight, value in fitted.by_weight.items() if value == 1)
        assert fitted.weights[1] > 0
        assert (fitted.with_pooled, fitted.queries, fitted.metric) == (1, 6, "nDCG@10")
        assert fitted.without == fitted.by_weight[0.0] < 1
        assert fitted.statement.startswith(f"Weights (1, {fitted.weights[1]:g}) of 5 pairs: nDCG@10 1.0000, ")
        stats = index.stats().pooled
        assert stats is not None
        assert (stats.weights, stats.fitted) == (fitted.weights, True)
        run = {
            query: {hit.id: hit.score for hit in index.search(text, mode="pooled")} for query, text in QUERIES.items()
        }
        assert evaluate(collection(7).qrels, run)["nDCG@10"] == 1


def test_without_a_gain_the_weight_is_0(tmp_path: Path) -> None:
    with build(tmp_path / "x") as index:
        fitted = fit_pooled_weights(index, collection(0), record=False)
        assert fitted.weights == (1, 0)
        assert fitted.with_pooled == fitted.without == max(fitted.by_weight.values())
        stats = index.stats().pooled
        assert stats is not None
        assert not stats.fitted


def test_bad_input(tmp_path: Path) -> None:
    with build(tmp_path / "x") as index:
        unjudged = Collection("toy", DOCUMENTS, QUERIES, {})
        with pytest.raises(ValueError, match="collection: toy has no judged queries"):
            fit_pooled_weights(index, unjudged)
        for weight, message in ((-1.0, "two numbers of at least 0"), (np.nan, "finite")):
            with pytest.raises(ValueError, match=f"weights: must be {message}"):
                fit_pooled_weights(index, collection(0), weights=[weight])
        with pytest.raises(ValueError, match="metrics"):
            fit_pooled_weights(index, collection(0), metric="F7")
        with pytest.raises(TypeError, match="collection: must be a Collection, such as load_beir returns, got str"):
            fit_pooled_weights(index, "folder")  # type: ignore[arg-type]
        index.set_pooled_weights(1, 0.25)
        other = Collection("other", {"z": "bees"}, QUERIES, {query: {"z": 1} for query in QUERIES})
        with pytest.raises(SerotineError, match="contains no document of other; index that collection"):
            fit_pooled_weights(index, other)
        assert index.stats().pooled.weights == (1, 0.25)  # type: ignore[union-attr]
    with (
        Index.open(tmp_path / "x", read_only=True, encoder=WordEncoder(), pooled=Oracle()) as reader,
        pytest.raises(ReadOnlyError),
    ):
        fit_pooled_weights(reader, collection(0), weights=[])
    with Index.create(tmp_path / "z", encoder=WordEncoder()) as index:
        index.add(["d0"], ["bat"])
        with pytest.raises(EncoderError, match="stores no pooled vectors; create the index with them"):
            fit_pooled_weights(index, collection(0))
    with Index.create(tmp_path / "y", dim=2, pooled=2) as index:
        index.add(["d0"], vectors=[np.eye(2)], pooled=np.ones((1, 2)))
        with pytest.raises(EncoderError, match="has no model of pooled vectors"):
            fit_pooled_weights(index, collection(0))
