"""MTEB's own offline mock tasks over our encoder and our index."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder

pytest.importorskip("mteb", reason="MTEB is not installed (pip install 'serotine[mteb]')")

with warnings.catch_warnings():
    # Of the libraries MTEB stands on.
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


def judged(model: Any, task: type) -> dict[str, Any]:
    results = mteb.evaluate(model, task(), cache=None, show_progress_bar=False)
    (result,) = results.task_results
    assert not results.exceptions
    (scores,) = result.scores["test"]
    return dict(scores)


def test_both_are_what_mteb_asks_for() -> None:
    assert isinstance(EncoderModel(WordEncoder()), EncoderProtocol)
    search = IndexSearch(WordEncoder(), nbits=2)
    assert isinstance(search, SearchProtocol)
    assert not isinstance(search, EncoderProtocol)
    assert search.mteb_model_meta.name == "serotine/words"
    assert search.mteb_model_meta.revision == "words-16"
    assert search.mteb_model_meta.experiment_kwargs == {"nbits": 2}


@pytest.mark.parametrize("task", TASKS)
def test_mtebs_search_and_ours_give_the_same_scores(task: type) -> None:
    encoder = judged(EncoderModel(WordEncoder()), task)
    index = judged(IndexSearch(WordEncoder()), task)
    same = ("main_score", "ndcg_at_10", "map_at_10", "recall_at_10", "mrr_at_10")
    assert {key: index[key] for key in same} == {key: encoder[key] for key in same}
    assert index["recall_at_10"] == 1.0


def test_a_wrong_engine_shows_in_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    right = judged(IndexSearch(WordEncoder()), MockRetrievalTask)
    search = IndexSearch.search

    def backwards(self: IndexSearch, *arguments: Any, **named: Any) -> dict[str, dict[str, float]]:
        found = search(self, *arguments, **named)
        return {query: {id_: -score for id_, score in documents.items()} for query, documents in found.items()}

    monkeypatch.setattr(IndexSearch, "search", backwards)
    assert judged(IndexSearch(WordEncoder()), MockRetrievalTask)["ndcg_at_10"] != right["ndcg_at_10"]


def test_an_index_is_kept_and_used_again(tmp_path: Path) -> None:
    task = MockRetrievalTask()
    task.load_data()
    data = task.dataset["default"]["test"]
    given = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    calls: list[int] = []

    class Counting(WordEncoder):
        def encode_documents(self, texts: Any) -> list[Any]:
            calls.append(len(texts))
            return super().encode_documents(texts)

    for _ in range(2):
        search = IndexSearch(Counting(), folder=tmp_path, exact=True)
        search.index(data["corpus"], num_proc=None, **given)
        found = search.search(data["queries"], top_k=1, num_proc=None, **given)
        search.close()
        assert [len(documents) for documents in found.values()] == [1, 1]
    assert sum(calls) == len(data["corpus"])


def test_reranking_scores_the_named_documents_only() -> None:
    task = MockRerankingTask()
    task.load_data()
    data = task.dataset["default"]["test"]
    given = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
    encoder = WordEncoder()
    search = IndexSearch(encoder)
    with pytest.raises(SerotineError, match=r"call index\(\) before search\(\)"):
        search.search(data["queries"], top_k=10, num_proc=None, **given)
    search.index(data["corpus"], num_proc=None, **given)
    query, document = data["queries"][0], data["corpus"][1]
    found = search.search(data["queries"], top_k=10, num_proc=None, top_ranked={query["id"]: [document["id"]]}, **given)
    text = f"{document.get('title') or ''} {document['text']}".strip()
    expected = maxsim.score(
        encoder.encode_queries([query["text"]])[0], encoder.encode_documents([text])[0].astype(np.float16)
    )
    assert found[query["id"]] == pytest.approx({document["id"]: expected}, rel=1e-6)
    assert [len(documents) for documents in found.values()] == [1, 0]
    search.close()


def test_similarity_takes_texts_of_different_lengths() -> None:
    encoder = WordEncoder()
    model = EncoderModel(encoder)
    queries, documents = encoder.encode_queries(["a b", "c"]), encoder.encode_documents(["a", "c d e", ""])
    table = model.similarity(queries, documents)
    assert table.shape == (2, 3)
    assert table[1, 1].item() == pytest.approx(float(maxsim.score(queries[1], [documents[1]])[0]))
    assert model.similarity_pairwise(queries, documents[:2]).tolist() == pytest.approx(
        [table[0, 0].item(), table[1, 1].item()]
    )
