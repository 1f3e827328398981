"""Answers for agents stay within their budgets, counted with the vocabularies of real models."""

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

from serotine.serving.mcp.budget import around, cost, from_here, sentences, share
from serotine.serving.mcp.expand import expand
from serotine.serving.mcp.indexes import Served
from serotine.serving.mcp.listing import list_indexes
from serotine.serving.mcp.schemas import ExpandArguments, ListArguments, SearchArguments
from serotine.serving.mcp.search import search
from serotine.serving.mcp.token_count import as_json, count_tokens

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
    """Counts with the byte pairs of Qwen, a vocabulary of today's size."""
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
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("budget") / "mixed.serotine"
    with Index.create(path, encoder=WordEncoder()) as index:
        for kind, listed in texts().items():
            index.add(
                ids=[f"{kind}#{i}" for i in range(len(listed))],
                texts=listed,
                metadata=[{"kind": kind, "source": kind, "note": "long " * 300, "start": 0, "end": 1} for _ in listed],
            )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serotine.index.recorded_encoder.load_encoder", lambda *_: WordEncoder())
        opened = Served([path])
        yield opened
        opened.close()


def test_the_estimate_is_seldom_too_low(qwen: Callable[[str], int]) -> None:
    for kind, listed in texts().items():
        for text in listed:
            assert count_tokens(text) >= 0.99 * qwen(text), (kind, text[:60])
            # Nor so high that half of a budget would be wasted on words and code.
            if kind in ("abstract", "code", "json"):
                assert count_tokens(text) <= 1.8 * qwen(text), (kind, text[:60])


@pytest.mark.parametrize("most", [200, 320, 700, 2000, 9000])
def test_searches_stay_within_their_budgets(served: Served, qwen: Callable[[str], int], most: int) -> None:
    for query, mode in [
        ("boundary layer flow over a wing", "late"),
        ("def search(self, query) -> Hits", "hybrid"),
        ("milliseconds", "bm25"),
        ("蝙蝠 夜间", "late"),
    ]:
        for k in (1, 8, 50):
            answer, text = search(served, SearchArguments(query=query, k=k, mode=mode, max_tokens=most))
            for written in (text, as_json(answer.model_dump())):
                assert count_tokens(written) <= most
                assert qwen(written) <= most
            found = served.chosen(None)["mixed"].search(query, k, mode=mode)
            assert len(answer.hits) + answer.left_out == len(found)
            whole = {hit.id: hit.text or "" for hit in found}
            assert answer.cut == sum(len(hit.text or "") < len(whole[hit.id].strip()) for hit in answer.hits)
            for hit in answer.hits:
                assert hit.text == whole[hit.id][hit.start : hit.end]
                assert hit.metadata_left_out == ["note"]
            assert f"{answer.cut} cut" in answer.note or not answer.cut
            assert f"{answer.left_out} more left out" in answer.note or not answer.left_out or not answer.hits
            if answer.cut and most >= 700:
                # What there is room for is used.
                assert count_tokens(as_json(answer.model_dump())) > 0.5 * most


def test_a_passage_is_read_in_parts(served: Served, qwen: Callable[[str], int]) -> None:
    for id_ in ("code#3", "chinese#0", "abstract#1", "json#0"):
        text = served.chosen(None)["mixed"].get([id_])[0].text or ""
        read, offset, calls = "", 0, 0
        while True:
            answer, written = expand(served, ExpandArguments(id=id_, offset=offset, max_tokens=600))
            assert qwen(written) <= 600
            assert qwen(as_json(answer.model_dump())) <= 600
            (passage,) = answer.passages
            assert passage.start == offset
            read += passage.text or ""
            calls += 1
            if answer.next_offset is None:
                break
            assert answer.next_offset > offset
            offset = answer.next_offset
        assert read == text
        assert calls == 1 or cost(text) > 400


def test_neighbours_without_room_are_named(served: Served) -> None:
    answer, written = expand(served, ExpandArguments(id="abstract#5", neighbours=20, max_tokens=1500))
    assert count_tokens(written) <= 1500
    ids = [passage.id for passage in answer.passages]
    numbers = [int(id_.split("#")[1]) for id_ in ids]
    # No gap between those that are given.
    assert numbers == list(range(min(numbers), max(numbers) + 1))
    assert set(ids) | set(answer.left_out) == {f"abstract#{i}" for i in range(26)}


def test_a_list_is_short(served: Served) -> None:
    answer, text = list_indexes(served, ListArguments())
    assert count_tokens(text) < 400
    fields = {field.name: field for field in answer.indexes[0].fields}
    assert "abstract" in fields["kind"].examples
    assert fields["note"].examples == []


def test_the_sentences_that_match_are_shown() -> None:
    text = "".join(f"Sentence {i} tells nothing at all. " for i in range(40)) + "The serotine is late. And so on."
    start = text.index("serotine")
    cut = around(text, [(start, start + 8, 1.0)], 40)
    assert "The serotine is late." in text[cut.start : cut.end]
    assert cut.tokens <= 40
    assert any(cut.start == begin for begin, _ in sentences(text))
    assert any(cut.end == end for _, end in sentences(text))
    # A sentence that is too long for itself is cut between words, around the match.
    long = "word " * 300 + "serotine " + "word " * 300
    start = long.index("serotine")
    cut = around(long, [(start, start + 8, 1.0)], 30)
    assert "serotine" in long[cut.start : cut.end]
    assert long[cut.start : cut.end].split()[0] == "word"
    assert (start - cut.start > 10) == (cut.end - start > 10) == True  # noqa: E712


def test_lines_that_were_wrapped_are_one_sentence() -> None:
    wrapped = "A sentence that somebody has wrapped by hand at some column\nends on the next line. Another.\n"
    assert [wrapped[start:end] for start, end in sentences(wrapped)] == [wrapped[:-9], "Another.\n"]
    code = (
        "def find(passages: list[str], wanted: str, most: int) -> list[str]:\n    return passages\n- an item\n- another"
    )
    assert len(sentences(code)) == 4


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.integers(0, 60), st.integers(0, 299))
def test_cutting_keeps_to_any_text(text: str, most: int, offset: int) -> None:
    pieces = sentences(text)
    assert "".join(text[start:end] for start, end in pieces) == text
    cut = around(text, [(offset, offset + 1, 1.0)] if offset < len(text) else [], most)
    assert 0 <= cut.start <= cut.end <= len(text)
    assert cut.tokens <= most
    if offset < len(text):
        assert from_here(text, offset, most).tokens <= most


@given(st.lists(st.integers(0, 500), min_size=1, max_size=8), st.integers(0, 2000), st.integers(1, 60))
def test_shares(needs: list[int], budget: int, least: int) -> None:
    parts = share(needs, budget, least)
    if parts is None:
        assert sum(needs) > budget
        return
    assert sum(parts) <= budget
    assert all(part == need or part >= least for part, need in zip(parts, needs, strict=True))
    if sum(parts) < sum(needs):
        # Nothing but the rounding is left over.
        assert budget - sum(parts) < len(needs)


def test_an_unknown_index_is_named(served: Served) -> None:
    with pytest.raises(SerotineError, match="'x' is not served; there is 'mixed'"):
        search(served, SearchArguments(query="a", index="x"))


def test_arguments_are_forgiving() -> None:
    asked = SearchArguments.model_validate({"query": "a", "where": '{"a": 1}', "k": None})
    assert (asked.where, asked.k) == ({"a": 1}, 8)
