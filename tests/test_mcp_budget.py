"""Results for agents stay within their token budgets, also when a real model's vocabulary counts."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.fakes import WordEncoder
from helpers.packages import packaged
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine.errors import SerotineError
from serotine.index import Index

pytest.importorskip("mcp", reason="needs the mcp extra (pip install 'serotine[mcp]')")

from serotine.excerpts import by_sentences, from_offset, sentences
from serotine.serving.mcp.budget import share_budget
from serotine.serving.mcp.expand import expand
from serotine.serving.mcp.indexes import ServedIndexes
from serotine.serving.mcp.listing import list_indexes
from serotine.serving.mcp.schemas import ExpandArguments, ListArguments, SearchArguments
from serotine.serving.mcp.search import search
from serotine.serving.mcp.token_count import as_json, count_tokens, count_tokens_sent

ROOT = Path(__file__).parents[1]
CHINESE = "蝙蝠在夜间捕食。它们用回声寻找飞蛾!大棕蝠很晚才出现。这是一只蝙蝠吗?是的,它住在屋顶下面。"
RUSSIAN = "Летучие мыши охотятся ночью. Поздний кожан вылетает после заката. Совы тоже не спят."


def texts() -> dict[str, list[str]]:
    with gzip.open(ROOT / "examples/cranfield/corpus.jsonl.gz", "rt") as file:
        abstracts = [json.loads(line)["text"] for _, line in zip(range(60), file, strict=False)]
    code = [path.read_text()[:8000] for path in sorted((ROOT / "src/serotine/index").glob("*.py"))[:12]]
    results = [path.read_text()[:6000] for path in sorted((ROOT / "benchmarks/results").glob("*.json"))[:6]]
    return {"abstract": abstracts, "code": code, "json": results, "chinese": [CHINESE * 12], "russian": [RUSSIAN * 12]}


@pytest.fixture(scope="module")
def qwen() -> Callable[[str], int]:
    """Return a function that counts tokens with Qwen's byte pairs, a vocabulary of current size."""
    tiktoken = pytest.importorskip("tiktoken")
    ranks = packaged("dashscope", "resources/qwen.tiktoken")
    if ranks is None:
        pytest.skip("needs the file qwen.tiktoken of the package dashscope (pip install --no-deps dashscope==2.0.2)")
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    encoding = tiktoken.Encoding(
        "qwen",
        pat_str=words + r"|\s*[\r\n]+|\s+(?!\S)|\s+",
        mergeable_ranks={base64.b64decode(a): int(b) for a, b in map(str.split, ranks.read_text().splitlines())},
        special_tokens={},
    )
    return lambda text: len(encoding.encode(text, disallowed_special=()))


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedIndexes]:
    path = tmp_path_factory.mktemp("budget") / "mixed.serotine"
    with Index.create(path, encoder=WordEncoder()) as index:
        for kind, documents in texts().items():
            index.add(
                ids=[f"{kind}#{i}" for i in range(len(documents))],
                texts=documents,
                metadata=[
                    {"kind": kind, "source": kind, "note": "long " * 300, "start": 0, "end": 1} for _ in documents
                ],
            )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serotine.encoders.load_recorded", lambda *_: WordEncoder())
        indexes = ServedIndexes([path])
        yield indexes
        indexes.close()


def test_the_estimate_is_rarely_too_low(qwen: Callable[[str], int]) -> None:
    for kind, documents in texts().items():
        for text in documents:
            assert count_tokens(text) >= 0.99 * qwen(text), (kind, text[:60])
            # Nor so high that prose and code would waste half of a budget.
            if kind in ("abstract", "code", "json"):
                assert count_tokens(text) <= 1.8 * qwen(text), (kind, text[:60])


@pytest.mark.parametrize("max_tokens", [200, 320, 700, 2000, 9000])
def test_searches_stay_within_their_budgets(
    indexes: ServedIndexes, qwen: Callable[[str], int], max_tokens: int
) -> None:
    for query, mode in [
        ("boundary layer flow over a wing", "late"),
        ("def search(self, query) -> Hits", "hybrid"),
        ("milliseconds", "bm25"),
        ("蝙蝠 夜间", "late"),
    ]:
        for k in (1, 8, 50):
            result, text = search(indexes, SearchArguments(query=query, k=k, mode=mode, max_tokens=max_tokens))
            for output in (text, as_json(result.model_dump())):
                assert count_tokens(output) <= max_tokens
                assert qwen(output) <= max_tokens
            hits = indexes.select(None)["mixed"].search(query, k, mode=mode)
            assert len(result.hits) + result.left_out == len(hits)
            full_texts = {hit.id: hit.text or "" for hit in hits}
            assert result.cut == sum(len(hit.text or "") < len(full_texts[hit.id].strip()) for hit in result.hits)
            for hit in result.hits:
                assert hit.text == full_texts[hit.id][hit.start : hit.end]
                assert hit.metadata_left_out == ["note"]
            assert f"{result.cut} cut" in result.note or not result.cut
            assert f"{result.left_out} more omitted" in result.note or not result.left_out or not result.hits
            if result.cut and max_tokens >= 700:
                # The result fills its budget.
                assert count_tokens(as_json(result.model_dump())) > 0.5 * max_tokens


def test_a_long_passage_is_read_in_steps(indexes: ServedIndexes, qwen: Callable[[str], int]) -> None:
    for id_ in ("code#3", "chinese#0", "abstract#1", "json#0"):
        text = indexes.select(None)["mixed"].get([id_])[0].text or ""
        collected, offset, calls = "", 0, 0
        while True:
            result, output = expand(indexes, ExpandArguments(id=id_, offset=offset, max_tokens=600))
            assert qwen(output) <= 600
            assert qwen(as_json(result.model_dump())) <= 600
            (passage,) = result.passages
            assert passage.start == offset
            collected += passage.text or ""
            calls += 1
            if result.next_offset is None:
                break
            assert result.next_offset > offset
            offset = result.next_offset
        assert collected == text
        assert calls == 1 or count_tokens_sent(text) > 400


def test_omitted_neighbors_are_named(indexes: ServedIndexes) -> None:
    result, output = expand(indexes, ExpandArguments(id="abstract#5", neighbors=20, max_tokens=1500))
    assert count_tokens(output) <= 1500
    ids = [passage.id for passage in result.passages]
    numbers = [int(id_.split("#")[1]) for id_ in ids]
    # No gaps.
    assert numbers == list(range(min(numbers), max(numbers) + 1))
    assert set(ids) | set(result.left_out) == {f"abstract#{i}" for i in range(26)}


def test_the_list_of_indexes_is_short(indexes: ServedIndexes) -> None:
    result, text = list_indexes(indexes, ListArguments())
    assert count_tokens(text) < 400
    fields = {field.name: field for field in result.indexes[0].fields}
    assert "abstract" in fields["kind"].examples
    assert fields["note"].examples == []


def test_the_sentences_that_match_are_shown() -> None:
    text = "".join(f"Sentence {i} says nothing at all. " for i in range(40)) + "The serotine is late. And so on."
    start = text.index("serotine")
    excerpt = by_sentences(text, [(start, start + 8, 1.0)], 40, count_tokens_sent)
    assert "The serotine is late." in text[excerpt.start : excerpt.end]
    assert excerpt.cost <= 40
    assert any(excerpt.start == begin for begin, _ in sentences(text))
    assert any(excerpt.end == end for _, end in sentences(text))
    # A sentence beyond the budget is cut between words, around the match.
    long_sentence = "word " * 300 + "serotine " + "word " * 300
    start = long_sentence.index("serotine")
    excerpt = by_sentences(long_sentence, [(start, start + 8, 1.0)], 30, count_tokens_sent)
    assert "serotine" in long_sentence[excerpt.start : excerpt.end]
    assert long_sentence[excerpt.start : excerpt.end].split()[0] == "word"
    assert (start - excerpt.start > 10) == (excerpt.end - start > 10) == True  # noqa: E712


def test_wrapped_lines_are_one_sentence() -> None:
    wrapped = "A sentence that somebody has wrapped by hand at some column\nends on the next line. Another.\n"
    assert [wrapped[start:end] for start, end in sentences(wrapped)] == [wrapped[:-9], "Another.\n"]
    code = "def find(passages: list[str], prefix: str, k: int) -> list[str]:\n    return passages\n- an item\n- another"
    assert len(sentences(code)) == 4


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.integers(0, 60), st.integers(0, 299))
def test_excerpts_of_any_text_stay_within_the_budget(text: str, budget: int, offset: int) -> None:
    pieces = sentences(text)
    assert "".join(text[start:end] for start, end in pieces) == text
    spans = [(offset, offset + 1, 1.0)] if offset < len(text) else []
    excerpt = by_sentences(text, spans, budget, count_tokens_sent)
    assert 0 <= excerpt.start <= excerpt.end <= len(text)
    assert excerpt.cost <= budget
    if offset < len(text):
        assert from_offset(text, offset, budget, count_tokens_sent).cost <= budget


@given(st.lists(st.integers(0, 500), min_size=1, max_size=8), st.integers(0, 2000), st.integers(1, 60))
def test_budget_shares(costs: list[int], budget: int, minimum: int) -> None:
    shares = share_budget(costs, budget, minimum)
    if shares is None:
        assert sum(costs) > budget
        return
    assert sum(shares) <= budget
    assert all(share == cost or share >= minimum for share, cost in zip(shares, costs, strict=True))
    if sum(shares) < sum(costs):
        # Only rounding leaves a remainder.
        assert budget - sum(shares) < len(costs)


def test_an_unknown_index_is_named(indexes: ServedIndexes) -> None:
    with pytest.raises(SerotineError, match="index: unknown 'x'; available: 'mixed'"):
        search(indexes, SearchArguments(query="a", index="x"))


def test_arguments_accept_json_text_and_null() -> None:
    arguments = SearchArguments.model_validate({"query": "a", "where": '{"a": 1}', "k": None})
    assert (arguments.where, arguments.k) == ({"a": 1}, 8)
