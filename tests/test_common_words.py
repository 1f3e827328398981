"""Matches of common words are faint, of rare words strong, and special tokens are not shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.fakes import WordEncoder

from serotine import Index
from serotine.common_words import FAINTEST, rarity
from serotine.excerpts import MARK, UNMARK, passage, relevant_spans, word_spans


def marked(text: str, spans: list[tuple[int, int, float]]) -> dict[str, float]:
    return {text[start:end].casefold(): round(weight, 3) for start, end, weight in spans}


@pytest.mark.parametrize("word", ["the", "OF", "is", "und", "für", "les", "della", "een"])
def test_function_words_are_faint_in_any_collection(word: str) -> None:
    assert rarity(word) == rarity(word, 1000, 3) == FAINTEST


@pytest.mark.parametrize("word", ["bats", "war", "son", "die", "hat", "van", "den", "pour", "東京"])
def test_other_words_are_as_faint_as_they_are_frequent(word: str) -> None:
    assert rarity(word) == rarity(word, 1000, 200) == 1
    rarities = [rarity(word, 1000, frequency) for frequency in range(0, 1001, 100)]
    assert rarities == sorted(rarities, reverse=True)
    assert FAINTEST <= rarities[-1] < 0.13
    # A subject that all of a few documents share is no stop word.
    assert rarity(word, 5, 5) == 1


def test_an_explanation_shows_what_the_query_is_about(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", encoder=WordEncoder(64)) as index:
        texts = ["The theory of relativity.", "The origin of the bats is a cave."]
        index.add(["a", "b"], texts=texts)
        explanation = index.explain("what is the origin of the bats", "b")
        weights = marked(texts[1], explanation.spans())
        assert (weights["origin"], weights["bats"]) == (1.0, 1.0)
        assert all(weights[word] == pytest.approx(FAINTEST, abs=1e-3) for word in ("the", "of", "is"))
        shown = [texts[1][start:end] for start, end, _ in relevant_spans(explanation.spans())]
        assert shown == ["origin", "bats"]
        special = [match for match in explanation.matches if match.query_end == match.query_start]
        assert [match.query_token for match in special] == ["[Q]"]
        assert index.search("the origin", 1).spans(0) == index.explain("the origin", "b").spans()


def test_words_of_most_documents_are_faint_in_their_index(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", encoder=WordEncoder(64)) as index:
        index.add([str(n) for n in range(200)], texts=[f"Flow number{n}" for n in range(200)])
        explanation = index.explain("flow number7", "7")
        weights = marked("Flow number7", explanation.spans())
        assert weights["number7"] == 1
        assert weights["flow"] < 0.25
        # Replaced by documents without the word: it is rare now.
        index.add([str(n) for n in range(8, 200)], texts=[f"Heat number{n}" for n in range(8, 200)], upsert=True)
        index.compact()
        assert marked("Flow number7", index.explain("flow number7", "7").spans())["flow"] == pytest.approx(1)


def test_words_without_an_encoder_have_the_same_weights() -> None:
    text = "The origin of bats"
    assert marked(text, word_spans("the origin of bats", text)) == {"the": 0.1, "origin": 1, "of": 0.1, "bats": 1}
    # A query of common words only: they are all there is to show.
    assert marked("The Who", word_spans("the who", "The Who")) == {"the": 1, "who": 1}


def test_common_words_are_not_marked_in_a_terminal(tmp_path: Path) -> None:
    fake = [sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py")]
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "The origin of the bats is a cave."}\n')
    subprocess.run([*fake, "index", "corpus.jsonl", "-o", "i.serotine"], cwd=tmp_path, check=True, capture_output=True)
    for mode in ("late", "bm25"):
        command = [*fake, "search", "i.serotine", "the origin of bats", "--mode", mode, "--json", "-"]
        (hit,) = json.loads(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout)["hits"]
        shown = passage(hit["text"], hit["spans"]).replace(MARK, "<").replace(UNMARK, ">")
        assert shown == "The <origin> of the <bats> is a cave."
