"""Matches between languages: whole words are marked in every script that separates them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from serotine.index import Explanation, TokenMatch
from serotine.index.search.explanation import explain


@pytest.mark.parametrize(
    ("text", "piece", "word"),
    [
        ("Die Fledermäuse jagen.", "Fleder", "Fledermäuse"),
        ("Die Fledermäuse jagen.", "äuse", "Fledermäuse"),
        ("Летучие мыши охотятся.", "мыш", "мыши"),
        ("Les étoiles brillent.", "toiles", "étoiles"),
        ("चमगादड़ रात में उड़ते हैं", "गाद", "चमगादड़"),
        ("كانت الخفافيش تصطاد", "خفاف", "الخفافيش"),
        ("박쥐는 밤에 난다", "박쥐", "박쥐는"),
        ("ἄνθρωπος μέτρον", "νθρωπ", "ἄνθρωπος"),
        ("蝙蝠在夜间捕食昆虫", "夜间", "夜间"),
        ("コウモリは夜に飛ぶ", "コウモリ", "コウモリ"),
        ("ค้างคาวบินตอนกลางคืน", "บิน", "บิน"),
        ("Wi-Fi蝙蝠", "Fi", "Fi"),
    ],
)
def test_a_piece_of_a_word_marks_the_word(text: str, piece: str, word: str) -> None:
    start = text.index(piece)
    match = TokenMatch("bat", 0, 3, piece, start, start + len(piece), 0.8)
    ((first, end, weight),) = Explanation("d", 0.8, "bat", text, (match,)).spans()
    assert (text[first:end], weight) == (word, 1.0)


def test_the_space_that_sentencepiece_counts_with_a_word_is_not_part_of_a_match() -> None:
    """A German query and a Russian text, in the pieces of XLM-R's tokenizer, whose words begin with their space."""
    query, text = "Fledermäuse jagen", "Летучие мыши охотятся"
    pieces = {"query": [(0, 1), (1, 6), (6, 11), (11, 15), (15, 17)], "text": [(0, 7), (7, 12), (12, 21)]}
    tokens = {
        side: [SimpleNamespace(text="", start=start, end=end) for start, end in spans] for side, spans in pieces.items()
    }
    vectors = np.eye(3, dtype=np.float32)
    explanation = explain(
        "ru", query, vectors[[1, 1, 1, 2, 2]], tokens["query"], text, vectors.astype(np.float16), tokens["text"]
    )
    assert [query[match.query_start : match.query_end] for match in explanation.matches][3:] == ["jag", "en"]
    assert [text[start:end] for start, end, _ in explanation.spans()] == ["мыши", "охотятся"]
