"""Texts and queries in scripts that the encoder does not know are reported, and such queries ranked by words."""
# ruff: noqa: RUF001

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serotine import Encoder, Index
from serotine.cli import main
from serotine.coverage import text_coverage
from serotine.errors import UnknownTextWarning
from serotine.index import SearchOptions, search_several
from serotine.integrations import passages
from serotine.issued_warnings import collected_warnings

TEXTS = {
    "owl": "Owls hunt mice at dusk.",
    "thai-cat": "แมวนอนหลับบนเก้าอี้",
    "thai-bat": "ค้างคาวบินออกหากินตอนกลางคืน",
    "emoji": "🦇🦉🐝",
    "chinese": "猫躺椅睡覺",
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def index(tmp_path: Path, encoder: Encoder) -> Iterator[Index]:
    with Index.create(tmp_path / "index", encoder=encoder) as opened, collected_warnings():
        opened.add(ids=list(TEXTS), texts=list(TEXTS.values()))
        yield opened


def test_adding_warns_once_with_the_scripts_and_the_first_id(tmp_path: Path, encoder: Encoder) -> None:
    with Index.create(tmp_path / "new", encoder=encoder) as index:
        with pytest.warns(UnknownTextWarning, match="texts: 4 of 5 more than 20% outside") as caught:
            index.add(ids=list(TEXTS), texts=list(TEXTS.values()))
        assert len(caught) == 1
        message = str(caught[0].message)
        assert "(Thai, emoji, Han), the first is 'thai-cat'" in message
        assert 'mode="bm25"' in message
        stats = index.stats()
        assert (stats.unknown, stats.unknown_scripts) == (4, {"Thai": 2, "Han": 1, "emoji": 1})
    with Index.open(tmp_path / "new") as index:
        assert index.stats().unknown == 4
        index.delete(["emoji"])
        index.compact()
        assert index.stats().unknown_scripts == {"Thai": 2, "Han": 1}


def test_a_query_of_unknown_words_is_ranked_by_its_words_and_says_so(index: Index) -> None:
    with collected_warnings() as collected:
        hits = index.search("ค้างคาวบิน", k=5)
    assert hits[0].id == "thai-bat"
    assert hits.stats.plan == "flat + bm25"
    assert [type(warning) for warning in collected] == [UnknownTextWarning]
    assert hits.warnings == tuple(collected)
    assert "100% outside the vocabulary" in str(hits.warnings[0])
    # What shares no word with the query is no hit: the encoder has nothing to add.
    assert [hit.id for hit in hits] == ["thai-bat"]
    assert index.search("owls at dusk", k=1).warnings == ()


def test_exact_and_bm25_are_what_they_say(index: Index) -> None:
    with collected_warnings() as collected:
        hits = index.search("ค้างคาวบิน", exact=True)
        assert index.search("ค้างคาวบิน", mode="bm25").warnings == ()
    assert hits.certificate is not None
    assert hits.stats.plan == "bounds" or "bm25" not in hits.stats.plan
    assert len(collected) == 1
    assert "search with" in str(collected[0])


def test_no_score_per_token_is_shown_that_means_nothing(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    index.close()
    for options in ([], ["--mode", "hybrid"], ["--exact"]):
        assert main(["search", str(index.path), "ค้างคาวบิน", *options]) == 0
        out, err = capsys.readouterr()
        assert "100% outside the vocabulary" in err
        assert "per query token" not in out
        assert re.search(r"  1        -  \S" if options == ["--exact"] else r"  1   0\.\d{4}  thai-bat\n", out)
    # JSON has the number.
    assert main(["search", str(index.path), "ค้างคาวบิน", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["score_per_token"] > 0


def test_agents_read_no_score_per_token_that_means_nothing(index: Index) -> None:
    pytest.importorskip("mcp", reason="needs the mcp extra (pip install 'serotine[mcp]')")
    from serotine.serving.mcp.indexes import ServedIndexes
    from serotine.serving.mcp.schemas import SearchArguments
    from serotine.serving.mcp.search import search

    index.close()
    served = ServedIndexes([Path(index.path)])
    try:
        result, text = search(served, SearchArguments(query="ค้างคาวบิน"))
        assert result.hits[0].score_per_token
        assert "per token" not in text
        assert " per token)" in search(served, SearchArguments(query="owls at dusk", k=1))[1]
    finally:
        served.close()


def test_batches_fall_back_query_by_query(index: Index) -> None:
    with collected_warnings():
        late, hybrid = index.search_batch(["owls at dusk", "แมวนอน"], k=1)
    assert (late[0].id, late.stats.plan) == ("owl", "flat")
    assert (hybrid[0].id, hybrid.stats.plan) == ("thai-cat", "flat + bm25")


def test_rerankers_warn(encoder: Encoder) -> None:
    with pytest.warns(UnknownTextWarning) as caught:
        passages.rerank(encoder, "แมวนอน", ["Owls hunt.", "แมว"], None)
    assert [str(warning.message).split(":")[0] for warning in caught] == ["queries", "texts"]


def test_coverage_counts_characters(encoder: Encoder) -> None:
    text = "  bat 🦇🦇"
    ((coverage),) = text_coverage(encoder, [text], query=False) or ()
    assert coverage.unknown_share(text) == pytest.approx(2 / 5)
    assert coverage.unknown_scripts(text) == ["emoji"]


ENGLISH = {
    "owls": "Owls hunt mice at dusk.",
    "bats": "Bats leave the cave late.",
    "train": "The train departs in the morning.",
    "rain": "It rains in the city.",
}
THAI = {
    "cat": "แมวนอนหลับบนเก้าอี้",
    "bat": "ค้างคาวบินออกหากินตอนกลางคืน",
    "mouse": "ฝนตกหนักในกรุงเทพ mouse",
    "trip": "รถไฟออกเดินทางตอนเช้า",
    "child": "เด็กกินข้าวที่บ้าน",
    "dog": "หมาวิ่งเล่นในสวน",
}


def built(path: Path, encoder: Encoder, texts: dict[str, str]) -> Index:
    index = Index.create(path, encoder=encoder)
    with collected_warnings():
        index.add(ids=list(texts), texts=list(texts.values()))
    return index


def test_documents_that_the_encoder_does_not_know_are_ranked_by_words_and_the_search_says_so(
    tmp_path: Path, encoder: Encoder
) -> None:
    with built(tmp_path / "thai", encoder, THAI) as index:
        with pytest.warns(UnknownTextWarning) as caught:
            hits = index.search("which animal is a mouse?", k=4)
        assert [hit.id for hit in hits] == ["mouse"]
        assert hits.stats.plan == "flat + bm25"
        assert [str(warning.message) for warning in caught] == [str(warning) for warning in hits.warnings]
        message = str(hits.warnings[0])
        assert message.startswith(
            "hits: 4 of the first 4 more than 20% outside the vocabulary of 'serotine-mini' (Thai), "
        )
        assert '; ranked by mode="hybrid" instead of "late": by their words, and by what is known of them; ' in message
        assert 'create the index with Encoder("multilingual")' in message
        # What no mode can answer has no hits, rather than wrong ones.
        with collected_warnings():
            assert len(index.search("mortgage rates")) == 0
            index.delete(["mouse"])
            exact = index.search("mortgage rates", exact=True)
            hybrid = index.search("mortgage rates", mode="hybrid", weights=(1.0, 1.0))
            assert index.search("mortgage rates", mode="bm25").warnings == ()
        assert len(exact) == len(hybrid) == 5
        for answered in (exact, hybrid):
            assert str(answered.warnings[0]).endswith('MaxSim scores say little about them; search with mode="bm25"')


@pytest.mark.parametrize("query", ["which animal is a mouse?", "แมวนอน", "which bird hunts mice?", "แมวนอน and owls"])
def test_modes_late_and_hybrid_rank_alike_where_the_encoder_knows_little(
    tmp_path: Path, encoder: Encoder, query: str
) -> None:
    with built(tmp_path / "mixed", encoder, THAI | ENGLISH) as index, collected_warnings():
        for options in ({}, {"offset": 2}, {"fusion": "sum"}, {"group_by": "document"}):
            late, hybrid = (index.search(query, k=10, mode=mode, **options) for mode in ("late", "hybrid"))
            assert late.stats.plan == hybrid.stats.plan == "flat + bm25"
            assert late.items == hybrid.items
            assert len(late.warnings) == len(hybrid.warnings) == 1


def test_a_mixed_index_falls_back_only_where_most_hits_are_unknown(tmp_path: Path, encoder: Encoder) -> None:
    with built(tmp_path / "mixed", encoder, THAI | ENGLISH) as index, collected_warnings() as collected:
        late = index.search("which bird hunts mice?", k=4)
        assert (late[0].id, late.stats.plan, late.warnings) == ("owls", "flat", ())
        # The same query, with a page that reaches beyond the English documents.
        wide = index.search("which bird hunts mice?", k=10)
        assert (wide[0].id, wide.stats.plan) == ("owls", "flat + bm25")
        assert str(wide.warnings[0]).startswith("hits: 6 of the first 10 ")
    assert len(collected) == 1


def test_every_page_is_ranked_as_the_first(tmp_path: Path, encoder: Encoder) -> None:
    with built(tmp_path / "mixed", encoder, THAI | ENGLISH) as index, collected_warnings():
        whole = index.search("which bird hunts mice?", k=4, offset=0)
        pages = [index.search("which bird hunts mice?", k=4, offset=offset) for offset in (0, 4)]
    assert [hits.stats.plan for hits in pages] == ["flat", "flat"]
    assert [hit.id for hit in pages[0]] == [hit.id for hit in whole]
    assert not {hit.id for hit in pages[0]} & {hit.id for hit in pages[1]}


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"mode": "hybrid"}, {"offset": 2, "k": 2}])
def test_several_indexes_are_ranked_as_one_of_all_texts(
    tmp_path: Path, encoder: Encoder, options: dict[str, Any]
) -> None:
    with (
        built(tmp_path / "thai", encoder, THAI) as thai,
        built(tmp_path / "english", encoder, ENGLISH) as english,
        built(tmp_path / "mixed", encoder, THAI | ENGLISH) as mixed,
    ):
        for query, k in (("which bird hunts mice?", 4), ("which bird hunts mice?", 10)):
            searched = SearchOptions(**{"k": k, **options})
            several = search_several([english, thai], query, searched)
            with collected_warnings():
                one = mixed.search(query, searched.k, **searched.keywords())
            plans = {hits.stats.plan for hits in several.results}
            assert plans == {one.stats.plan}
            assert [type(warning) for warning in several.warnings] == [type(warning) for warning in one.warnings]
            # The documents that most hits are of decide, not those of the index that has the fewest hits.
            is_known = k == 4 or "offset" in options
            assert [type(warning) for warning in several.warnings] == ([] if is_known else [UnknownTextWarning])
            if not is_known:
                assert "hits: 6 of the first 10 more than 20% outside" in str(several.warnings[0])
            elif not options:
                expected = [hit.score for hit in one]
                assert [hit.score for hit in several.merged] == pytest.approx(expected)


def test_queries_given_as_vectors_are_searched_as_they_are(tmp_path: Path, encoder: Encoder) -> None:
    with built(tmp_path / "thai", encoder, THAI) as index:
        hits = index.search(encoder.encode_queries(["mortgage rates"])[0])
        assert (len(hits), hits.warnings) == (6, ())


def test_emoji_are_advised_what_helps(tmp_path: Path, encoder: Encoder) -> None:
    advice = "no mode finds emoji: describe them in words"
    with Index.create(tmp_path / "emoji", encoder=encoder) as index:
        with pytest.warns(UnknownTextWarning, match=f"the first is 'bee'; {advice}$"):
            index.add(ids=["bee", "bat"], texts=["🐝🐝", "🦇🦇"])
        with pytest.warns(UnknownTextWarning, match=f"by what is known of it; {advice}$"):
            assert len(index.search("🦇")) == 0
        with collected_warnings():
            assert len(index.search("🦇", mode="bm25")) == 0
        with pytest.warns(UnknownTextWarning, match=f'Encoder\\("multilingual"\\).*; {advice}$'):
            index.add(ids=["owl", "cat"], texts=["🦉", "แมวนอนหลับ"])


@pytest.mark.parametrize(
    "word", ["x" * 200, "iVBORw0KGgoAAAANSUhEUgAAAAUA" * 20, "d41d8cd98f00b204e9800998ecf8427e" * 4]
)
def test_base64_and_hashes_are_no_language(encoder: Encoder, word: str) -> None:
    (coverage,) = encoder.coverage([word])
    assert coverage.unknown_share(word) == 0
    # A long run of letters of another script is one: these have no spaces between words.
    (coverage,) = encoder.coverage(["ใ" * 200])
    assert coverage.unknown_scripts("ใ" * 200) == ["Thai"]


def test_the_command_line_says_so_in_one_line_each(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    index.close()
    assert main(["search", str(index.path), "ค้างคาวบิน", "-k", "1"]) == 0
    output = capsys.readouterr()
    assert "thai-bat" in output.out
    assert output.err.splitlines() == [
        "warning: query: 100% outside the vocabulary of 'serotine-mini' (Thai); "
        "ranked by --mode hybrid instead of late: by its words, and by what is known of it"
    ]
    assert main(["info", str(index.path)]) == 0
    output = capsys.readouterr().out
    assert "4 of 5 documents (80%): more than 20% of their text is outside the encoder's vocabulary" in output
    assert "vocabulary: Thai 2, Han 1, emoji 1;" in output


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Летучие мыши ловят насекомых.", "Cyrillic"),
        ("يطير الخفاش في الليل ويأكل الحشرات.", "Arabic"),
        ("Οι νυχτερίδες κυνηγούν έντομα.", "Greek"),
        ("コウモリはよるにとびます", "Hiragana"),
        ("서울은 대한민국의 수도이다", "Hangul"),
        ("বাদুড় রাতে ওড়ে", "Bengali"),
    ],
)
def test_words_spelled_letter_by_letter_are_unknown(encoder: Encoder, text: str, script: str) -> None:
    """Vocabularies have letters of most scripts: no token is unknown, and no word is known."""
    (coverage,) = encoder.coverage([text])
    assert coverage.unknown_share(text) > 0.6
    assert coverage.unknown_scripts(text)[0] == script
    # Inside another text too, at its place there.
    (inside,) = encoder.coverage([f"Bats: {text}"])
    assert inside.unknown == tuple((start + 6, end + 6) for start, end in coverage.unknown)


@pytest.mark.parametrize("text", ["bat؟", "؟", "a bat׃", "the bat，at night。", "⸮"])
def test_punctuation_is_never_unknown(encoder: Encoder, text: str, tmp_path: Path) -> None:
    (coverage,) = encoder.coverage([text])
    assert coverage.unknown == ()
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        index.add(["bat"], ["Bats hunt at night."])
        warnings = index.search(text).warnings
    assert not any(isinstance(warning, UnknownTextWarning) for warning in warnings)


@pytest.mark.filterwarnings("ignore::serotine.errors.UnknownTextWarning")
@pytest.mark.parametrize("text", ["الخفاش؟", "بمازا تسمى الابراج؟", "כלב׃", "コウモリ゠"])
def test_a_mark_that_the_vocabulary_lacks_counts_once_in_a_spelled_word(
    encoder: Encoder, text: str, tmp_path: Path
) -> None:
    (coverage,) = encoder.coverage([text], query=True)
    assert coverage.unknown_share(text) == 1
    with Index.create(tmp_path / "i", encoder=encoder) as index:
        index.add(["bat"], ["Bats hunt at night."])
        for mode in ("late", "hybrid"):
            (warning,) = index.search(text, mode=mode).warnings[:1]
            assert str(warning).startswith("query: 100% outside the vocabulary of 'serotine-mini' (")


@pytest.mark.parametrize(
    "text",
    ["Donaudampfschifffahrt für naïve Größen", "x1f3a9c 0xdeadbeef qwrtzk", "the α and β of Ω", "Đường sắt Việt Nam"],
)
def test_latin_words_codes_and_single_letters_are_known(encoder: Encoder, text: str) -> None:
    (coverage,) = encoder.coverage([text])
    assert coverage.unknown_share(text) == 0
