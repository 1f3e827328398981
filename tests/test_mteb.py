"""MTEB's own offline mock tasks over Serotine's encoder and index."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder

pytest.importorskip("mteb", reason="MTEB is not installed (pip install 'serotine[mteb]')")

with warnings.catch_warnings():
    # Warnings of MTEB's dependencies.
    warnings.simplefilter("ignore")
    import mteb
    from mteb.mocks import MockRerankingTask, MockRetrievalTask
    from mteb.models import EncoderProtocol, SearchProtocol

from serotine import maxsim
from serotine.errors import SerotineError
from serotine.integrations.mteb import EncoderModel, IndexSearch

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
TASKS = [MockRetrievalTask, MockRerankingTask]


def scores_of(model: Any, task: type) -> dict[str, Any]:
    results = mteb.evaluate(model, task(), cache=None, show_progress_bar=False)
    (result,) = results.task_results
    assert not results.exceptions
    (scores,) = result.scores["test"]
    return dict(scores)


def test_both_models_implement_the_protocols_of_mteb() -> None:
    assert isinstance(EncoderModel(WordEncoder()), EncoderProtocol)
    search = IndexSearch(WordEncoder(), nbits=2)
    assert isinstance(search, SearchProtocol)
    assert not isinstance(search, EncoderProtocol)
    assert search.mteb_model_meta.name == "serotine/words"
    assert search.mteb_model_meta.revision == "words-16"
    assert search.mteb_model_meta.experiment_kwargs == {"nbits": 2}


@pytest.mark.parametrize("task", TASKS)
def test_mteb_search_and_the_index_give_the_same_scores(task: type) -> None:
    encoder = scores_of(EncoderModel(WordEncoder()), task)
    index = scores_of(IndexSearch(WordEncoder()), task)
    metrics = ("main_score", "ndcg_at_10", "map_at_10", "recall_at_10", "mrr_at_10")
    assert {key: index[key] for key in metrics} == {key: encoder[key] for key in metrics}
    assert index["recall_at_10"] == 1.0


def test_a_wrong_engine_lowers_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = scores_of(IndexSearch(WordEncoder()), MockRetrievalTask)
    search = IndexSearch.search

    def reverse(self: IndexSearch, *arguments: Any, **options: Any) -> dict[str, dict[str, float]]:
        results = search(self, *arguments, **options)
        return {query: {id_: -score for id_, score in documents.items()} for query, documents in results.items()}

    monkeypatch.setattr(IndexSearch, "search", reverse)
    assert scores_of(IndexSearch(WordEncoder()), MockRetrievalTask)["ndcg_at_10"] != correct["ndcg_at_10"]


def test_an_index_in_a_folder_is_reused(tmp_path: Path) -> None:
    task = MockRetrievalTask()
    task.load_data()
    data = task.dataset["default"]["test"]
    options = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    calls: list[int] = []

    class Counting(WordEncoder):
        def encode_documents(self, texts: Any) -> list[Any]:
            calls.append(len(texts))
            return super().encode_documents(texts)

    for _ in range(2):
        search = IndexSearch(Counting(), folder=tmp_path, exact=True)
        search.index(data["corpus"], num_proc=None, **options)
        results = search.search(data["queries"], top_k=1, num_proc=None, **options)
        search.close()
        assert [len(documents) for documents in results.values()] == [1, 1]
    assert sum(calls) == len(data["corpus"])


def test_reranking_scores_the_named_documents_only() -> None:
    task = MockRerankingTask()
    task.load_data()
    data = task.dataset["default"]["test"]
    options = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    encoder = WordEncoder()
    with pytest.raises(ValueError, match="candidates: cannot be used with exact"):
        IndexSearch(encoder, exact=True, candidates=10)
    search = IndexSearch(encoder)
    with pytest.raises(SerotineError, match=r"call index\(\) before search\(\)"):
        search.search(data["queries"], top_k=10, num_proc=None, **options)
    search.index(data["corpus"], num_proc=None, **options)
    query, document = data["queries"][0], data["corpus"][1]
    results = search.search(
        data["queries"], top_k=10, num_proc=None, top_ranked={query["id"]: [document["id"]]}, **options
    )
    text = f"{document.get('title') or ''} {document['text']}".strip()
    expected = maxsim.score(
        encoder.encode_queries([query["text"]])[0], encoder.encode_documents([text])[0].astype(np.float16)
    )
    assert results[query["id"]] == pytest.approx({document["id"]: expected}, rel=1e-6)
    assert [len(documents) for documents in results.values()] == [1, 0]
    search.close()


def test_similarity_of_texts_of_different_lengths() -> None:
    encoder = WordEncoder()
    model = EncoderModel(encoder)
    queries, documents = encoder.encode_queries(["a b", "c"]), encoder.encode_documents(["a", "c d e", ""])
    table = model.similarity(queries, documents)
    assert table.shape == (2, 3)
    assert table[1, 1].item() == pytest.approx(float(maxsim.score(queries[1], [documents[1]])[0]))
    assert model.similarity_pairwise(queries, documents[:2]).tolist() == pytest.approx(
        [table[0, 0].item(), table[1, 1].item()]
    )
