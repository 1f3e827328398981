"""Passages: invariants over all texts, encoders and lengths."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serotine import cutting
from serotine.cutting import Cutter, Spans, max_characters
from serotine.encoders.formats.folder import read_tokenizer
from serotine.encoders.location import locate
from serotine.ingest.chunking import MIN_TOKENS, Chunk, Chunker, Chunking
from serotine.ingest.extract import Extract, Positions, Section, plain, sections
from serotine.ingest.readers.markdown import read_markdown


class RealTokens(WordEncoder):
    """Word vectors with the default encoder's tokenizer and a limit of 62 tokens; its model is not loaded."""

    document_room = 62

    def __init__(self) -> None:
        super().__init__()
        self._tokenizer = read_tokenizer(locate(None, revision=None, offline=True).folder / "tokenizer.json")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def token_spans(self, texts: list[str]) -> list[NDArray[np.int32]]:
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, np.int32).reshape(-1, 2) for encoding in encodings]


ENCODERS = {"words": WordEncoder(), "wordpiece": RealTokens()}
PIECES = st.sampled_from(
    (
        *("bats fly late. ", "Serotine!", " ", "\n", "\n\n", "\r\n\r\n", "# One\n", "## Two\n", "\n# Three\n\n"),
        *(
            "antidisestablishmentarianism",
            "コウモリは夜に飛ぶ。",
            "蝙蝠",
            "é",
            "\u2028",
            "👩\u200d👩\u200d👧",
            "\t",
            "1.5",
        ),
        *("1.5", "a.b.c", "```\n# x\n```\n", "x" * 70),
    )
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=120).map("".join)


def count(encoder: WordEncoder, text: str) -> int:
    return len(Cutter(encoder).count([text])[0])


@settings(max_examples=80, deadline=None)
@given(
    text=TEXTS, tokens=st.integers(MIN_TOKENS, 60), overlap=st.floats(0, 0.5), name=st.sampled_from(sorted(ENCODERS))
)
def test_invariants_of_passages(text: str, tokens: int, overlap: float, name: str) -> None:
    encoder = ENCODERS[name]
    text = text.encode("utf-8", "replace").decode()
    extract = read_markdown(text.encode(), "f") if "\0" not in text else plain(text, {})
    text = extract.text
    chunks = list(Chunker(encoder, Chunking(tokens, int(tokens * overlap))).chunks(extract))
    covered = np.zeros(len(text), dtype=bool)
    for chunk, following in zip(chunks, [*chunks, None][1:], strict=True):
        passage = text[chunk.start : chunk.end]
        assert passage
        assert passage == passage.strip()
        assert count(encoder, passage) <= tokens
        assert len(passage) <= max_characters(tokens)
        covered[chunk.start : chunk.end] = True
        assert following is None or (chunk.start < following.start and chunk.end < following.end)
    # Every word is in a passage, and a text that fits is one.
    assert not "".join(letter for letter, inside in zip(text, covered, strict=True) if not inside).strip()
    if text.strip() and count(encoder, text) <= tokens and len(text) <= max_characters(tokens):
        assert len(chunks) == 1


def cut(text: str, tokens: int = 16, overlap: int = 0, *, section_list: tuple[Section, ...] | None = None) -> list[str]:
    extract = plain(text, {}) if section_list is None else Extract(text, section_list)
    return [
        text[chunk.start : chunk.end] for chunk in Chunker(WordEncoder(), Chunking(tokens, overlap)).chunks(extract)
    ]


def test_cuts_prefer_paragraphs_to_sentences_to_lines_to_words() -> None:
    ten = "one two three four five six seven eight nine ten"
    assert cut(f"{ten}\n\n{ten}") == [ten, ten]
    # The end of a paragraph in the second half is preferred to a later end of a sentence.
    assert cut(f"{ten}\n\nA b. {ten}")[0] == ten
    assert cut(f"{ten}. {ten}")[0] == f"{ten}."
    assert cut(f"{ten}\n{ten}")[0] == ten
    assert [len(passage.split()) for passage in cut(f"{ten} {ten}")] == [16, 4]
    assert cut("コウモリ。" * 40)[0].endswith("。")


def test_an_unknown_word_of_any_length_is_cut_by_its_characters() -> None:
    text = "ค้างคาวบินตอนกลางคืน" * 100
    chunks = list(Chunker(RealTokens(), Chunking(32, 0)).chunks(plain(text, {})))
    passages = [text[chunk.start : chunk.end] for chunk in chunks]
    assert "".join(passages) == text
    assert max(map(len, passages)) <= 256
    assert len(passages) < 12
    # A vowel or tone sign stays with its consonant.
    assert not any(unicodedata.category(passage[0]) == "Mn" for passage in passages)


def test_overlap_begins_with_a_sentence() -> None:
    text = " ".join(f"Bat {i} flies late." for i in range(20))
    passages = cut(text, 20, 6)
    assert len(passages) == 7
    for before, after in pairwise(passages):
        shared = next(n for n in range(len(after), 0, -1) if before.endswith(after[:n]))
        assert after[:shared].startswith("Bat ")
        assert 4 <= len(after[:shared].split()) <= 6


def test_passages_have_the_headings_of_their_section() -> None:
    words = "word " * 10
    text = f"# Title\n\n## One\n{words}\n## Two\n{words}\n### Three\n{words}{words}{words}\n"
    chunks = list(Chunker(WordEncoder(), Chunking(16, 0)).chunks(read_markdown(text.encode(), "f")))
    # A heading alone joins the text below it.
    assert [(chunk.headings, text[chunk.start : chunk.end].split()[0]) for chunk in chunks] == [
        (("Title", "One"), "#"),
        (("Title", "Two"), "##"),
        (("Title", "Two", "Three"), "###"),
        (("Title", "Two", "Three"), "word"),
        (("Title", "Two", "Three"), "word"),
    ]
    short = read_markdown(b"# A\n\n## B\nx\n\n## C\ny", "f")
    assert list(Chunker(WordEncoder(), Chunking(16, 0)).chunks(short)) == [Chunk(0, 19, ("A",))]


def cut_pages(pages: list[str], tokens: int) -> list[tuple[dict[str, object], str]]:
    starts = [sum(len(page) + 2 for page in pages[:i]) for i in range(len(pages))]
    section_list = tuple(
        Section(start, start + len(page), separate=True) for start, page in zip(starts, pages, strict=True)
    )
    positions = Positions("page", starts, range(1, len(pages) + 1))
    extract = Extract("\n\n".join(pages), section_list, positions=(positions,))
    passages = []
    for chunk in Chunker(WordEncoder(), Chunking(tokens, 0)).chunks(extract):
        metadata = extract.passage_metadata(chunk.start, chunk.end, chunk.headings)
        assert (metadata.pop("start"), metadata.pop("end")) == (chunk.start, chunk.end)
        passages.append((metadata, extract.text[chunk.start : chunk.end]))
    return passages


def test_passages_have_the_page_where_they_start() -> None:
    pages = ["page one " * 6, "page two " * 6]
    assert cut_pages(pages, 16) == [({"page": 1}, pages[0].strip()), ({"page": 2}, pages[1].strip())]


def test_short_pages_are_passages_of_their_own() -> None:
    pages = ["slide " * 16, "slide " * 20, "slide " * 30]
    assert cut_pages(pages, 256) == [({"page": i}, page.strip()) for i, page in enumerate(pages, 1)]


def test_a_page_of_a_few_words_joins_the_next_and_both_are_named() -> None:
    title, *rest = pages = ["Bats by Anna", "slide " * 20, "slide " * 20]
    assert cut_pages(pages, 256) == [
        ({"page": 1, "last_page": 2}, f"{title}\n\n{rest[0]}".strip()),
        ({"page": 3}, rest[1].strip()),
    ]
    # A long one is cut.
    long = cut_pages(["Bats by Anna", "slide " * 40], 32)
    assert [metadata for metadata, _ in long] == [{"page": 1, "last_page": 2}, {"page": 2}]


def test_headings_nest_by_level() -> None:
    nested = sections(40, [(5, 2, "b"), (10, 1, "c"), (20, 3, "d"), (30, 2, "e")])
    assert [(section.start, section.end, section.headings) for section in nested] == [
        (0, 5, ()),
        (5, 10, ("b",)),
        (10, 20, ("c",)),
        (20, 30, ("c", "d")),
        (30, 40, ("c", "e")),
    ]


def test_a_long_text_is_counted_in_blocks() -> None:
    text = "late bats. " * 8_000
    passages = cut(text, 256, 32)
    assert len(passages) == pytest.approx(24_000 / 226, rel=0.1)


def test_invalid_lengths() -> None:
    for tokens, overlap, message in (
        (8, 0, "at least 16"),
        (32, 17, "between 0 and half"),
        (63, 0, "at most 62, the tokens that 'words' reads"),
    ):
        with pytest.raises(ValueError, match=message):
            Chunking.of(tokens, overlap, RealTokens())
    assert Chunking.of(None, None, RealTokens()) == Chunking(62, 7)
    assert Chunking.of(None, None, WordEncoder()) == Chunking(256, 32)
    for chunking in (Chunking(None), Chunking(62, 7)):
        assert Chunking.parse(str(chunking)) == chunking


def test_the_default_chunking_fits_a_real_encoder() -> None:
    from serotine import Encoder
    from serotine.errors import EncoderError

    try:
        encoder = Encoder()
    except EncoderError as error:
        pytest.skip(str(error))
    assert encoder.document_room == 510
    text = "Serotine bats emerge late " * 150
    (spans,) = encoder.token_spans([text])
    assert len(spans) > 510
    (chunk, *_) = Chunker(encoder, Chunking.of(None, None, encoder)).chunks(plain(text, {}))
    read = encoder.tokens(text[chunk.start : chunk.end], query=False)
    assert max(token.end for token in read) == chunk.end - chunk.start


def test_a_very_long_text_is_cut_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serotine.ingest.chunking._PORTION", 4_000)
    text = "\n\n".join(f"Bat {i} flies late. " * 9 for i in range(400))
    counted: list[int] = []

    class CountingEncoder(WordEncoder):
        def token_spans(self, texts: list[str]) -> list[NDArray[np.int32]]:
            counted.append(sum(map(len, texts)))
            return [np.array([m.span() for m in re.finditer(r"\w+", t)], np.int32).reshape(-1, 2) for t in texts]

    chunks = Chunker(CountingEncoder(), Chunking(32, 4)).chunks(plain(text, {}))
    passages = [next(chunks)]
    # The first passage needs no more than the first portion.
    assert sum(counted) < 3 * 4_000 < len(text) / 3
    passages += chunks
    assert max(counted) <= 5_000
    covered = np.zeros(len(text), dtype=bool)
    for chunk in passages:
        covered[chunk.start : chunk.end] = True
        assert len(text[chunk.start : chunk.end].split()) <= 32
    assert not "".join(np.array(list(text))[~covered]).strip()


def _recounted(cutter: Cutter, text: str, tokens: int, overlap: int) -> list[tuple[int, int]]:
    """Return what `Cutter.pieces` must: all pieces counted again, for ever smaller targets."""
    spans = cutter.spans(text, 0, len(text))
    target = tokens
    while True:
        pieces = cutting._pieces(text, 0, len(text), spans, target, min(overlap, target // 2))
        largest = max(len(spans) for spans in cutter.count([text[start:end].strip() for start, end in pieces]))
        if largest <= tokens or target == 1:
            return pieces
        target = max(target - (largest - tokens), 1)


@pytest.mark.parametrize(
    "text",
    [
        "蝙蝠在夜里飞行。吃很多昆虫。猫头鹰abcdefg也是夜行动物。",
        "蝙蝠在夜里飞行吃很多昆虫猫头鹰abcdefg也是夜行动物",
        "ค้างคาวบินในเวลากลางคืน",
        "aB3xQ9zLm0",
        "antidisestablishmentarianism",
        "bats fly late. Serotine!",
    ],
)
def test_texts_without_spaces_are_counted_a_few_times(text: str) -> None:
    class Counting(Cutter):
        characters = 0

        def count(self, texts: Sequence[str]) -> list[Spans]:
            self.characters += sum(map(len, texts))
            return super().count(texts)

    counted = []
    for n in (20_000, 40_000):
        long = (text * n)[:n]
        cutter = Counting(ENCODERS["wordpiece"])
        pieces = cutter.pieces(long, 0, n, cutter.spans(long, 0, n), 62, 8)
        counted.append(cutter.characters / n)
        assert pieces == _recounted(Cutter(ENCODERS["wordpiece"]), long, 62, 8)
    # Once to cut, once or twice to check the pieces, which overlap.
    assert max(counted) < 4.5
    assert counted[1] < 1.2 * counted[0]
