"""The adapters for LangChain, LlamaIndex and Haystack, in the real frameworks."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index
from serotine.errors import NotAnIndexError, UnprovedWarning
from serotine.integrations import passages

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"langchain": "langchain_core", "llama_index": "llama_index.core", "haystack": "haystack"}
TEXTS = ["two wings flutter", "a bicycle has two wheels", "wings of a dove", "a bicycle", "the wind"]
IDS = [f"d{i}" for i in range(5)]
METADATA = [{"year": 2000 + i} for i in range(5)]
QUESTION = "which two wings flutter"


def adapter(name: str) -> ModuleType:
    if importlib.util.find_spec(NEEDS[name].split(".")[0]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    return importlib.import_module(f"serotine.integrations.{name}")


@pytest.fixture
def langchain() -> ModuleType:
    return adapter("langchain")


@pytest.fixture
def llama_index() -> ModuleType:
    return adapter("llama_index")


@pytest.fixture
def haystack(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    return adapter("haystack")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "ours.serotine", encoder=WordEncoder()) as made:
        made.add(ids=IDS, texts=TEXTS, metadata=METADATA)
        yield made


def told(hits: Any) -> list[tuple[str, float]]:
    return [(hit.id, pytest.approx(hit.score)) for hit in hits]


# Reranking


def test_reranking_gives_the_scores_of_an_index(index: Index) -> None:
    ranked = passages.rerank(WordEncoder(), QUESTION, TEXTS, None)
    assert [(IDS[place], score) for place, score in ranked] == [(h.id, h.score) for h in index.search(QUESTION, k=5)]
    assert passages.rerank(WordEncoder(), QUESTION, TEXTS, 2) == ranked[:2]
    assert passages.rerank(WordEncoder(), QUESTION, [], 2) == []
    assert passages.rerank(WordEncoder(), QUESTION, ["", "wings"], None)[1] == (0, -np.inf)


def test_what_reranking_refuses() -> None:
    with pytest.raises(ValueError, match="query: is empty"):
        passages.rerank(WordEncoder(), " ", TEXTS, None)
    with pytest.raises(ValueError, match="top_n: want at least 1, got 0"):
        passages.rerank(WordEncoder(), QUESTION, TEXTS, 0)


def test_an_answer_that_is_not_proved_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    with Index.create(tmp_path / "codes", encoder=WordEncoder(), keep_vectors=False, nbits=2, centroids=2) as index:
        words = [f"word{i} word{i + 1} word{i + 2}" for i in range(60)]
        index.add(ids=[str(i) for i in range(60)], texts=words)
        index.compact()
        with pytest.warns(UnprovedWarning, match="Not proved"):
            passages.search(index, "word3 word5", k=3, where=None, mode="late", exact=True)


# LangChain


def test_langchain_retriever(langchain: ModuleType, index: Index) -> None:
    retriever = langchain.SerotineRetriever(index=index, k=3)
    found = retriever.invoke(QUESTION)
    hits = index.search(QUESTION, k=3)
    assert [(d.id, d.metadata["relevance_score"]) for d in found] == told(hits)
    assert [d.page_content for d in found] == [hit.text for hit in hits]
    assert found[0].metadata["year"] == 2000
    assert asyncio.run(retriever.ainvoke(QUESTION)) == found
    assert retriever.batch([QUESTION, "bicycle"])[0] == found


def test_langchain_options_for_one_question(langchain: ModuleType, index: Index) -> None:
    retriever = langchain.SerotineRetriever(index=index, k=3, where={"year": {">": 2001}}, mode="hybrid")
    assert {document.id for document in retriever.invoke(QUESTION)} == {"d2", "d3", "d4"}
    assert [d.id for d in retriever.invoke(QUESTION, k=1, where=None, mode="late")] == ["d0"]
    assert [d.id for d in asyncio.run(retriever.ainvoke(QUESTION, k=1, where=None, mode="bm25"))] == ["d0"]
    assert len(retriever.invoke(QUESTION, where=None, mode="late", exact=True)) == 3
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUESTION, top_k=3)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        langchain.SerotineRetriever(index=index, k=0)


def test_langchain_opens_a_folder(langchain: ModuleType, index: Index) -> None:
    retriever = langchain.SerotineRetriever(index=str(index.path), mode="bm25")
    assert retriever.invoke("dove")[0].id == "d2"
    retriever.index.close()
    with pytest.raises(NotAnIndexError):
        langchain.SerotineRetriever(index=index.path.parent)


def test_langchain_reranker(langchain: ModuleType, index: Index) -> None:
    from langchain_core.documents import Document

    given = [Document(page_content=text, id=id_, metadata={"n": id_}) for id_, text in zip(IDS, TEXTS, strict=True)]
    reranker = langchain.SerotineReranker(encoder=WordEncoder(), top_n=2)
    found = reranker.compress_documents(given, QUESTION)
    assert [(d.id, d.metadata["relevance_score"]) for d in found] == told(index.search(QUESTION, k=2))
    assert found[0].metadata["n"] == found[0].id
    assert all(document.metadata == {"n": document.id} for document in given)
    assert asyncio.run(reranker.acompress_documents(given, QUESTION)) == found


# LlamaIndex


def test_llama_index_retriever(llama_index: ModuleType, index: Index) -> None:
    retriever = llama_index.SerotineRetriever(index, similarity_top_k=3, where={"year": {"<": 2003}}, exact=True)
    found = retriever.retrieve(QUESTION)
    hits = index.search(QUESTION, k=3, where={"year": {"<": 2003}})
    assert [(node.node_id, node.score) for node in found] == told(hits)
    assert [node.text for node in found] == [hit.text for hit in hits]
    assert found[0].metadata == {"year": 2000}
    assert [n.node_id for n in asyncio.run(retriever.aretrieve(QUESTION))] == [n.node_id for n in found]


def test_llama_index_keeps_passages_that_read_alike(llama_index: ModuleType, tmp_path: Path) -> None:
    with Index.create(tmp_path / "alike", encoder=WordEncoder()) as index:
        index.add(ids=["a", "b"], texts=["wings", "wings"])
        index.add(ids=["c", "d"], vectors=WordEncoder().encode_documents(["wings", "wings"]))
        found = llama_index.SerotineRetriever(index).retrieve("wings")
    assert [node.node_id for node in found] == ["a", "b", "c", "d"]


def test_llama_index_reranker(llama_index: ModuleType, index: Index) -> None:
    nodes = llama_index.SerotineRetriever(index, mode="bm25").retrieve("a bicycle of the wings")
    assert len(nodes) == 5
    for node in nodes:
        node.node.excluded_embed_metadata_keys = ["year"]
    reranker = llama_index.SerotineReranker(encoder=WordEncoder(), top_n=2)
    found = reranker.postprocess_nodes(nodes, query_str=QUESTION)
    assert [(node.node_id, node.score) for node in found] == told(index.search(QUESTION, k=2))
    again = asyncio.run(reranker.apostprocess_nodes(nodes, query_str=QUESTION))
    assert [node.node_id for node in again] == [node.node_id for node in found]
    with pytest.raises(ValueError, match="query_bundle: is missing"):
        reranker.postprocess_nodes(nodes)


# Haystack


def test_haystack_retriever(haystack: ModuleType, index: Index) -> None:
    retriever = haystack.SerotineRetriever(index, top_k=3)
    found = retriever.run(QUESTION)["documents"]
    hits = index.search(QUESTION, k=3)
    assert [(d.id, d.score) for d in found] == told(hits)
    assert [(d.content, d.meta) for d in found] == [(hit.text, hit.metadata) for hit in hits]
    assert asyncio.run(retriever.run_async(QUESTION))["documents"] == found
    assert [d.id for d in retriever.run(QUESTION, where={"year": 2003}, top_k=1)["documents"]] == ["d3"]


def test_haystack_ranker(haystack: ModuleType, index: Index) -> None:
    from haystack import Document

    given = [Document(id=id_, content=text) for id_, text in zip(IDS, TEXTS, strict=True)]
    given.append(Document(id="image", content=None))
    ranker = haystack.SerotineRanker(WordEncoder())
    found = ranker.run(QUESTION, given)["documents"]
    assert [(d.id, d.score) for d in found[:5]] == told(index.search(QUESTION, k=5))
    assert (found[5].id, found[5].score) == ("image", -np.inf)
    assert all(document.score is None for document in given)
    assert asyncio.run(ranker.run_async(QUESTION, given, top_k=1))["documents"] == found[:1]


def test_haystack_components_come_back_from_a_file(
    haystack: ModuleType, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    from haystack import Pipeline

    loaded: list[tuple[Any, dict[str, Any]]] = []

    def load(name: Any = None, **options: Any) -> WordEncoder:
        loaded.append((name, options))
        return WordEncoder()

    monkeypatch.setattr("serotine.encoders.Encoder", load)
    pipeline = Pipeline()
    pipeline.add_component(
        "retriever", haystack.SerotineRetriever(index.path, where={"year": {"<": 2004}}, mode="bm25")
    )
    pipeline.add_component("ranker", haystack.SerotineRanker("owner/model", top_k=2, encoder_options={"dim": 16}))
    pipeline.connect("retriever.documents", "ranker.documents")
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["serotine.integrations.haystack"])
    assert again.to_dict() == pipeline.to_dict()
    assert loaded == []
    result = again.run({"retriever": {"query": "wings bicycle"}, "ranker": {"query": QUESTION}})
    assert [document.id for document in result["ranker"]["documents"]] == ["d0", "d1"]
    assert loaded == [("owner/model", {"dim": 16})]


# All of them


@pytest.mark.parametrize("name", NEEDS)
def test_the_example_runs(name: str) -> None:
    adapter(name)
    if importlib.util.find_spec("serotine_mini") is None:
        pytest.skip("the default encoder is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", EXAMPLES / f"{name}_rag.py"],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 2
    assert "flutter: Flutter is a vibration" in lines[0]


@pytest.mark.parametrize("name", NEEDS)
def test_without_the_framework_it_says_what_to_do(name: str) -> None:
    program = (
        f"import sys; sys.modules[{NEEDS[name].split('.')[0]!r}] = None\n"
        f"try:\n    import serotine.integrations.{name}\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert f"pip install 'serotine[{name.replace('_', '-')}]'" in done.stdout


def test_serotine_itself_imports_none_of_them() -> None:
    others = ["langchain_core", "llama_index", "haystack", "pyarrow", "lancedb", "qdrant_edge", "pydantic"]
    program = (
        "import sys, serotine, serotine.cli\nserotine.Index, serotine.Encoder, serotine.maxsim\n"
        f"print([name for name in {others} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
