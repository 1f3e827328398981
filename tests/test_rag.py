"""The adapters for LangChain, LlamaIndex and Haystack, run in the real frameworks."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers.fakes import ShortEncoder, WordEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index
from serotine.errors import NotAnIndexError, TruncatedTextWarning, UnknownTextWarning, UnprovedWarning
from serotine.integrations import passages

EXAMPLES = Path(__file__).parent.parent / "examples"
LIBRARIES = {"langchain": "langchain_core", "llama_index": "llama_index.core", "haystack": "haystack"}
TEXTS = ["two wings flutter", "a bicycle has two wheels", "wings of a dove", "a bicycle", "the wind"]
IDS = [f"d{i}" for i in range(5)]
METADATA = [{"year": 2000 + i} for i in range(5)]
QUERY = "which two wings flutter"


def adapter(name: str) -> ModuleType:
    if importlib.util.find_spec(LIBRARIES[name].split(".")[0]) is None:
        pytest.skip(f"{LIBRARIES[name]} is not installed")
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
    with Index.create(tmp_path / "index.serotine", encoder=WordEncoder()) as index:
        index.add(ids=IDS, texts=TEXTS, metadata=METADATA)
        yield index


def ids_and_scores(hits: Any) -> list[tuple[str, float]]:
    return [(hit.id, pytest.approx(hit.score)) for hit in hits]


# Reranking


def test_reranking_gives_the_scores_of_an_index(index: Index) -> None:
    ranked = passages.rerank(WordEncoder(), QUERY, TEXTS, None)
    assert [(IDS[position], score) for position, score in ranked] == [(h.id, h.score) for h in index.search(QUERY, k=5)]
    assert passages.rerank(WordEncoder(), QUERY, TEXTS, 2) == ranked[:2]
    assert passages.rerank(WordEncoder(), QUERY, [], 2) == []
    assert passages.rerank(WordEncoder(), QUERY, ["", "wings"], None)[1] == (0, -np.inf)


def test_reranking_validates_its_arguments() -> None:
    with pytest.raises(ValueError, match="query: must be a text with words"):
        passages.rerank(WordEncoder(), " ", TEXTS, None)
    with pytest.raises(ValueError, match="top_n: must be at least 1, got 0"):
        passages.rerank(WordEncoder(), QUERY, TEXTS, 0)


def test_an_unproved_result_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    results = retriever.invoke(QUERY)
    hits = index.search(QUERY, k=3)
    assert [(d.id, d.metadata["relevance_score"]) for d in results] == ids_and_scores(hits)
    assert [d.page_content for d in results] == [hit.text for hit in hits]
    assert results[0].metadata["year"] == 2000
    assert asyncio.run(retriever.ainvoke(QUERY)) == results
    assert retriever.batch([QUERY, "bicycle"])[0] == results


def test_langchain_options_of_one_query(langchain: ModuleType, index: Index) -> None:
    retriever = langchain.SerotineRetriever(index=index, k=3, where={"year": {">": 2001}}, mode="hybrid")
    assert {document.id for document in retriever.invoke(QUERY)} == {"d2", "d3", "d4"}
    assert [d.id for d in retriever.invoke(QUERY, k=1, where=None, mode="late")] == ["d0"]
    assert [d.id for d in asyncio.run(retriever.ainvoke(QUERY, k=1, where=None, mode="bm25"))] == ["d0"]
    assert len(retriever.invoke(QUERY, where=None, mode="late", exact=True)) == 3
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUERY, top_k=3)
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

    documents = [Document(page_content=text, id=id_, metadata={"n": id_}) for id_, text in zip(IDS, TEXTS, strict=True)]
    reranker = langchain.SerotineReranker(encoder=WordEncoder(), top_n=2)
    results = reranker.compress_documents(documents, QUERY)
    assert [(d.id, d.metadata["relevance_score"]) for d in results] == ids_and_scores(index.search(QUERY, k=2))
    assert results[0].metadata["n"] == results[0].id
    assert all(document.metadata == {"n": document.id} for document in documents)
    assert asyncio.run(reranker.acompress_documents(documents, QUERY)) == results


# LlamaIndex


def test_llama_index_retriever(llama_index: ModuleType, index: Index) -> None:
    retriever = llama_index.SerotineRetriever(index, similarity_top_k=3, where={"year": {"<": 2003}}, exact=True)
    results = retriever.retrieve(QUERY)
    hits = index.search(QUERY, k=3, where={"year": {"<": 2003}})
    assert [(node.node_id, node.score) for node in results] == ids_and_scores(hits)
    assert [node.text for node in results] == [hit.text for hit in hits]
    assert results[0].metadata == {"year": 2000}
    assert [n.node_id for n in asyncio.run(retriever.aretrieve(QUERY))] == [n.node_id for n in results]


def test_llama_index_returns_passages_with_equal_texts(llama_index: ModuleType, tmp_path: Path) -> None:
    with Index.create(tmp_path / "equal", encoder=WordEncoder()) as index:
        index.add(ids=["a", "b"], texts=["wings", "wings"])
        index.add(ids=["c", "d"], vectors=WordEncoder().encode_documents(["wings", "wings"]))
        results = llama_index.SerotineRetriever(index).retrieve("wings")
    assert [node.node_id for node in results] == ["a", "b", "c", "d"]


def test_llama_index_reranker(llama_index: ModuleType, index: Index) -> None:
    nodes = llama_index.SerotineRetriever(index, mode="bm25").retrieve("bicycle, wings or wind")
    assert len(nodes) == 5
    for node in nodes:
        node.node.excluded_embed_metadata_keys = ["year"]
    reranker = llama_index.SerotineReranker(encoder=WordEncoder(), top_n=2)
    results = reranker.postprocess_nodes(nodes, query_str=QUERY)
    assert [(node.node_id, node.score) for node in results] == ids_and_scores(index.search(QUERY, k=2))
    asynchronous = asyncio.run(reranker.apostprocess_nodes(nodes, query_str=QUERY))
    assert [node.node_id for node in asynchronous] == [node.node_id for node in results]
    with pytest.raises(ValueError, match="query_bundle: must be the query, got None"):
        reranker.postprocess_nodes(nodes)


# Warnings

LONG_QUERY = "one two three four five six"


def test_langchain_reranker_warns(langchain: ModuleType) -> None:
    from langchain_core.documents import Document

    reranker = langchain.SerotineReranker(encoder=ShortEncoder())
    with pytest.warns(TruncatedTextWarning, match="queries: 1 of 1 longer than the 5 tokens"):
        reranker.compress_documents([Document(page_content="wings")], LONG_QUERY)
    with pytest.warns(TruncatedTextWarning, match=r"texts: 1 of 2 longer .* the first is texts\[1\] with 30"):
        reranker.compress_documents([Document(page_content=text) for text in ("wings", "dove " * 30)], "wings")
    with pytest.warns(UnknownTextWarning, match="texts: 1 of 1 more than 20% outside"):
        reranker.compress_documents([Document(page_content="qqqq")], "wings")


def test_llama_index_reranker_warns(llama_index: ModuleType) -> None:
    from llama_index.core.schema import NodeWithScore, TextNode

    reranker = llama_index.SerotineReranker(encoder=ShortEncoder())
    with pytest.warns(TruncatedTextWarning, match="queries: 1 of 1 longer than the 5 tokens"):
        reranker.postprocess_nodes([NodeWithScore(node=TextNode(text="wings"))], query_str=LONG_QUERY)


def test_haystack_ranker_warns(haystack: ModuleType) -> None:
    from haystack import Document

    ranker = haystack.SerotineRanker(ShortEncoder())
    with pytest.warns(TruncatedTextWarning, match="queries: 1 of 1 longer than the 5 tokens"):
        ranker.run(LONG_QUERY, [Document(content="wings")])


# Haystack


def test_haystack_retriever(haystack: ModuleType, index: Index) -> None:
    retriever = haystack.SerotineRetriever(index, top_k=3)
    results = retriever.run(QUERY)["documents"]
    hits = index.search(QUERY, k=3)
    assert [(d.id, d.score) for d in results] == ids_and_scores(hits)
    assert [(d.content, d.meta) for d in results] == [(hit.text, hit.metadata) for hit in hits]
    assert asyncio.run(retriever.run_async(QUERY))["documents"] == results
    assert [d.id for d in retriever.run(QUERY, where={"year": 2003}, top_k=1)["documents"]] == ["d3"]


def test_haystack_ranker(haystack: ModuleType, index: Index) -> None:
    from haystack import Document

    documents = [Document(id=id_, content=text) for id_, text in zip(IDS, TEXTS, strict=True)]
    documents.append(Document(id="image", content=None))
    ranker = haystack.SerotineRanker(WordEncoder())
    results = ranker.run(QUERY, documents)["documents"]
    assert [(d.id, d.score) for d in results[:5]] == ids_and_scores(index.search(QUERY, k=5))
    assert (results[5].id, results[5].score) == ("image", -np.inf)
    assert all(document.score is None for document in documents)
    assert asyncio.run(ranker.run_async(QUERY, documents, top_k=1))["documents"] == results[:1]


def test_haystack_components_survive_a_pipeline_file(
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
    restored = Pipeline.loads(pipeline.dumps(), allowed_modules=["serotine.integrations.haystack"])
    assert restored.to_dict() == pipeline.to_dict()
    assert loaded == []
    result = restored.run({"retriever": {"query": "wings bicycle"}, "ranker": {"query": QUERY}})
    assert [document.id for document in result["ranker"]["documents"]] == ["d0", "d1"]
    assert loaded == [("owner/model", {"dim": 16})]


# Every adapter


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_example_runs(name: str) -> None:
    adapter(name)
    if importlib.util.find_spec("serotine_mini") is None:
        pytest.skip("the default encoder is not installed")
    process = subprocess.run(
        [sys.executable, "-W", "ignore", EXAMPLES / f"{name}_rag.py"],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False"},
    )
    assert process.returncode == 0, process.stderr
    lines = [line for line in process.stdout.splitlines() if re.search(r"\b(flutter|sweep|reentry|bicycle): ", line)]
    assert len(lines) == 2
    assert "flutter: Flutter is a vibration" in lines[0]


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_missing_framework_names_the_extra(name: str) -> None:
    program = (
        f"import sys; sys.modules[{LIBRARIES[name].split('.')[0]!r}] = None\n"
        f"try:\n    import serotine.integrations.{name}\nexcept ImportError as error:\n    print(error)\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert f"pip install 'serotine[{name.replace('_', '-')}]'" in process.stdout


def test_serotine_itself_imports_no_framework() -> None:
    frameworks = ["langchain_core", "llama_index", "haystack", "pyarrow", "lancedb", "qdrant_edge", "pydantic"]
    program = (
        "import sys, serotine, serotine.cli\nserotine.Index, serotine.Encoder, serotine.maxsim\n"
        f"print([name for name in {frameworks} if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout.strip() == "[]"
