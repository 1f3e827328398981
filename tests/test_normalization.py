"""Unicode normalization of hostile texts, and of all others as Unicode defines it."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serotine import Index
from serotine.normalization import nfkc
from serotine.stemmers import stemmer

MARKS = "\u0301\u0327\uff9e\u0344\u3099"
# A second on a busy machine; without limits hours.
SECONDS = 10


@given(st.text() | st.text(alphabet=f"aｶé한{MARKS}", max_size=25))
def test_texts_of_words_are_normalized_as_unicode_defines(text: str) -> None:
    assert nfkc(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize("marks", ["\u0301\u0327", "\u0301\uff9e", "\u0344\u0327", "\U0001d165\U0001d16d"])
def test_a_run_of_marks_takes_linear_time_and_loses_none(marks: str) -> None:
    started = time.perf_counter()
    text = nfkc("a" + marks * 100_000)
    assert time.perf_counter() - started < SECONDS
    kept = unicodedata.normalize("NFKD", text).replace("\u034f", "")
    assert len(kept) == len(unicodedata.normalize("NFKD", "a")) + 100_000 * len(unicodedata.normalize("NFKD", marks))


def test_a_long_word_is_not_stemmed() -> None:
    stem = stemmer("sr")
    assert stem is not None
    assert stem("љ" * 65) == "љ" * 65
    started = time.perf_counter()
    stem("љ" * 1_000_000)
    assert time.perf_counter() - started < SECONDS


def test_texts_and_queries_of_marks_are_added_found_and_verified(tmp_path: Path) -> None:
    with Index.create(tmp_path / "marks", dim=2) as index:
        texts = ["a" + "\u0301\u0327" * 20_000, "owl \u0301 bat", "\u0301", "cafe\u0301 a\u0327\u0301"]
        started = time.perf_counter()
        index.add(ids=["run", "alone", "mark", "words"], texts=texts, vectors=[np.eye(2, dtype=np.float32)] * 4)
        index.search("a" + "\u0301\u0327" * 20_000, mode="bm25")
        assert time.perf_counter() - started < SECONDS
        index.verify()
        assert [hit.id for hit in index.search("café", mode="bm25")] == ["words"]
        assert [hit.id for hit in index.search("bat", mode="bm25")] == ["alone"]
        index.delete(["run", "mark"])
        index.verify()
