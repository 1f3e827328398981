"""Lexical search: scripts without spaces, BM25 as published, and queries that are never parsed as syntax."""

from __future__ import annotations

import math
import re
import sqlite3
import time
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.fakes import WordEncoder
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from serotine import Index
from serotine.index import Mode
from serotine.index.store import lexical
from serotine.index.store.filters import check_filterable, compile_where, index_statements

TEXTS = {
    1: "The quick brown foxes were jumping over the lazy dog",
    2: "A fox jumps; dogs sleep. École, naïve café in the Straße",
    3: "東京都は日本の首都です。ｶﾀｶﾅも使います",
    4: "我喜欢吃苹果\uff0c不喜欢香蕉",
    5: "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ น้ำใจ",
    6: "ភាសាខ្មែរមិនមានដកឃ្លារវាងពាក្យទេ",
    7: "မြန်မာစာသည် စကားလုံးများကြား ကွက်လပ်မလို",
    8: "ພາສາລາວບໍ່ມີຊ່ອງຫວ່າງ",
    9: "서울에서 부산까지 기차로 갑니다",
    10: "हिन्दी में शब्दों के बीच जगह होती है",
    11: "猫",
    12: "白い猫がいる犬",
    13: "Быстрые лисы прыгают через собаку",
    14: "linux-image-amd64 version 6.1.0, don't panic: foo_bar",
}


def database(texts: dict[int, str], filterable: dict[str, str] | None = None) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(
        "CREATE TABLE documents (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, text TEXT, "
        "metadata TEXT NOT NULL DEFAULT '{}', live INTEGER NOT NULL DEFAULT 1)"
    )
    connection.executescript(lexical.SCHEMA)
    for statement in index_statements(filterable or {}):
        connection.execute(statement)
    connection.executemany("INSERT INTO documents (number, text) VALUES (?, ?)", texts.items())
    lexical.add(connection, texts.items())
    return connection


@pytest.fixture(scope="module")
def languages() -> Iterator[sqlite3.Connection]:
    connection = database(TEXTS)
    yield connection
    connection.close()


def terms(connection: sqlite3.Connection, text: str) -> list[str]:
    """Return the tokens that FTS5 splits a text into."""
    connection.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.single USING fts5 (text, "
        + lexical.SCHEMA[lexical.SCHEMA.index("tokenize") :].strip().rstrip(";")
    )
    connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.tokens USING fts5vocab (single, instance)")
    connection.execute("DELETE FROM temp.single")
    connection.execute("INSERT INTO temp.single VALUES (?)", (text,))
    return [row[0] for row in connection.execute("SELECT term FROM temp.tokens ORDER BY offset")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Plain ASCII stays", ["plain", "ascii", "stays"]),
        ("東京都", ["東京", "京都"]),
        ("猫", ["猫"]),
        ("白い 猫 a猫b", ["白い", "猫", "a", "猫", "b"]),
        # Halfwidth katakana, with the mark that voices it, and fullwidth Latin.
        ("ｶﾞｷ \uff21\uff22\uff23", ["ガキ", "abc"]),
        ("2024年3月", ["2024", "年", "3", "月"]),
        ("カー・ラジオ", ["カー", "・", "ラジ", "ジオ"]),
        # A consonant keeps its vowel and tone signs; NFKC decomposes sara am.
        ("ที่นี่", ["ที่นี่"]),
        ("น้ำใจ", ["น้ํา", "าใ", "ใจ"]),
        # Khmer: a consonant stacked by coeng belongs to the one above.
        ("ខ្មែរ", ["ខ្មែរ"]),
        ("서울에서", ["서울", "울에", "에서"]),
        # Jamo and syllables are equivalent.
        (unicodedata.normalize("NFD", "서울"), ["서울"]),
        ("हिन्दी", ["हिन्दी"]),
        ("\U00020000\U00020001\U0002a6d6", ["\U00020000\U00020001", "\U00020001\U0002a6d6"]),
        # A mark without a letter, a soft hyphen and a variation selector are dropped.
        ("\u0e49 a\u0e49", ["a"]),
        ("co\u00adoperate 葛\U000e0100城", ["cooperate", "葛城"]),
        ("", []),
    ],
)
def test_analyze(text: str, expected: list[str]) -> None:
    assert lexical.analyze(text).split() == expected


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9, 10])
def test_pairs_survive_the_tokenizer(languages: sqlite3.Connection, number: int) -> None:
    analyzed = lexical.analyze(TEXTS[number])
    assert terms(languages, analyzed) == re.sub("[.。,]", " ", analyzed).split()


def test_every_character_of_a_run_is_a_token_character(languages: sqlite3.Connection) -> None:
    letters = [
        character
        for character in map(chr, range(0x20000))
        if lexical._RUN.fullmatch(character) and unicodedata.category(character)[0] in "LN"
    ]
    assert len(letters) > 40_000
    assert len(terms(languages, " ".join(letters))) == len(letters)
    marked = [f"ก{character}ก" for character in map(chr, range(0x20000)) if character in lexical._MARKS]
    assert len(marked) > 100
    assert len(terms(languages, " ".join(marked))) == len(marked)


@given(st.text(st.characters(min_codepoint=0xE00, max_codepoint=0xEFF) | st.sampled_from("a \u1780\u17d2\u200b")))
def test_no_token_begins_with_a_combining_mark(text: str) -> None:
    for token in lexical.analyze(text).split():
        assert not unicodedata.category(token[0]).startswith("M")


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("fox", 2),
        ("jump", 1),
        ("ECOLE", 2),
        ("STRASSE", 2),
        ("cafe", 2),
        ("東京", 3),
        ("首都はどこですか", 3),
        ("カタカナ", 3),
        ("苹果", 4),
        ("ภาษาไทย", 5),
        ("วรรค", 5),
        ("น้ำ", 5),
        ("ខ្មែរ", 6),
        ("ဟုတ်ကဲ့ မြန်မာ", 7),
        ("ລາວ", 8),
        ("서울", 9),
        ("부산", 9),
        ("हिन्दी", 10),
        ("ЛИСЫ", 13),
        ("amd64", 14),
        ("bar", 14),
    ],
)
def test_every_language_is_searchable(languages: sqlite3.Connection, query: str, number: int) -> None:
    assert lexical.search(languages, query, 1)[0][0] in ({1, 2} if number < 3 else {number})
    assert number in [hit for hit, _ in lexical.search(languages, query, 20)]


def test_one_character_matches_every_run_that_contains_it(languages: sqlite3.Connection) -> None:
    # Alone, within a run, and at its end.
    assert [hit for hit, _ in lexical.search(languages, "猫", 10)] == [11, 12]
    assert [hit for hit, _ in lexical.search(languages, "犬", 10)] == [12]
    assert lexical.search(languages, "い猫が", 10)[0][0] == 12


def test_match_expression() -> None:
    assert lexical.match_expression("The fox, the FOX?") == '"the" OR "fox"'
    assert lexical.match_expression('a" OR b* NEAR(c) -d text:e ^f') == (
        '"a" OR "or" OR "b" OR "near" OR "c" OR "d" OR "text" OR "e" OR "f"'
    )
    assert lexical.match_expression("東京都の猫 猫") == '"東京" OR "京都" OR "都の" OR "の猫" OR "猫"*'
    assert lexical.match_expression("?! \0 -- ❤️ \ud800") is None
    assert lexical.match_expression("") is None


def test_bm25_follows_the_published_formula() -> None:
    texts = {
        i: " ".join(["filler"] * (i % 5) + ["word"] * max(0, i % 7 - 4) + ["rare"] * (i == 7) + [f"n{i}"])
        for i in range(40)
    }
    connection = database(texts)
    scores = dict(lexical.search(connection, "rare word", 50))
    connection.close()
    lengths = {i: len(text.split()) for i, text in texts.items()}
    average = sum(lengths.values()) / len(lengths)
    expected = {}
    for i, text in texts.items():
        score = 0.0
        for word in ("rare", "word"):
            document_frequency = sum(word in other.split() for other in texts.values())
            frequency = text.split().count(word)
            weight = math.log((len(texts) - document_frequency + 0.5) / (document_frequency + 0.5))
            norm = 1.2 * (1 - 0.75 + 0.75 * lengths[i] / average)
            score += weight * frequency * 2.2 / (frequency + norm)
        if score:
            expected[i] = score
    assert len(expected) > 10
    assert scores == pytest.approx(expected)


def test_order_and_ties() -> None:
    connection = database(
        {5: "word", 2: "word", 9: "word word word", 1: "other", 3: "filler", 4: "filler", 6: "filler"}
    )
    hits = lexical.search(connection, "word", 10)
    assert [number for number, _ in hits] == [9, 2, 5]
    assert hits[1][1] == hits[2][1] > 0
    assert lexical.search(connection, "word", 2) == hits[:2]
    assert lexical.search(connection, "word", 0) == []
    connection.close()


def test_frequent_words_are_searched_only_where_rare_ones_do_not_suffice() -> None:
    texts = {i: f"the number n{i} " + "rare " * (i % 4 == 0) + "filler " * (i % 7) for i in range(1, 30)}
    connection = database(texts)
    statements: list[str] = []
    connection.set_trace_callback(lambda sql: statements.append(sql) if "bm25" in sql else None)
    first_hits = lexical.search(connection, "the rare number n17", 5)
    assert len(statements) == 1
    assert '"the"' not in statements[0]
    all_hits = lexical.search(connection, "the rare number n17", 100)
    assert '"the"' in statements[-1]
    assert [number for number, _ in all_hits[:5]] == [number for number, _ in first_hits]
    assert [score for _, score in all_hits[:5]] == pytest.approx([score for _, score in first_hits], abs=1e-5)
    assert len(all_hits) == len(lexical.search(connection, "the number", 100)) == 29
    assert len(lexical.search(connection, "the", 100)) == 29
    assert all_hits[0][0] == 17
    assert all_hits[8][1] < 1e-5
    connection.close()


def test_the_number_of_statements_of_a_query_is_bounded() -> None:
    connection = database({1: "one bat", 2: "two owls"})
    statements: list[str] = []
    # FTS5's own statements begin with two hyphens.
    connection.set_trace_callback(lambda sql: statements.append(sql) if sql[:2] != "--" else None)
    query = " ".join(f"absent{i}" for i in range(20_000))
    assert [number for number, _ in lexical.search(connection, f"owls {query}", 5)] == [2]
    # One query of 700,000 words blocked every other search of its index for 18 seconds.
    assert len(statements) < 8192 + 10
    connection.close()


@pytest.mark.parametrize("mode", ["late", "bm25", "hybrid"])
def test_a_query_as_long_as_a_book_is_refused(tmp_path: Path, mode: Mode) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index:
        index.add(ids=["a"], texts=["one bat"])
        with pytest.raises(ValueError, match="query: must be at most 65,536 characters, got 70,000; search for a part"):
            index.search("bat " * 17_500, mode=mode)
        assert index.search("bat " * 16_384, mode="bm25")[0].id == "a"


@pytest.mark.parametrize("mode", ["bm25", "hybrid"])
def test_the_longest_query_blocks_no_other_search(tmp_path: Path, mode: Mode) -> None:
    with Index.create(tmp_path / "x", encoder=WordEncoder()) as index, ThreadPoolExecutor(1) as pool:
        index.add(ids=[str(i) for i in range(2000)], texts=[f"bat{i} owl{i % 97} {i}" for i in range(2000)])
        # As many words as fit, of which most are in a document.
        longest = " ".join(f"{i}" for i in range(14_000))[:65_536]
        book = " ".join(f"bat{i}" for i in range(700_000))

        def search() -> float:
            started = time.monotonic()
            with pytest.raises(ValueError, match="must be at most 65,536 characters"):
                index.search(book, mode=mode)
            refused = time.monotonic() - started
            for _ in range(3):
                assert index.search(longest, mode="bm25")
            return refused

        searching = pool.submit(search)
        waits = []
        while not searching.done():
            started = time.monotonic()
            assert index.search("bat7", mode="bm25")[0].id == "7"
            waits.append(time.monotonic() - started)
        assert searching.result() < 1
        assert max(waits) < 3


def test_long_queries(languages: sqlite3.Connection) -> None:
    query = " ".join(f"word{i}" for i in range(3000)) + " amd64 東京"
    assert {number for number, _ in lexical.search(languages, query, 5)} == {14, 3}
    connection = database({i: " ".join(f"w{j}" for j in range(i)) for i in range(1, 300)})
    assert lexical.search(connection, " ".join(f"w{j}" for j in range(300)), 1)[0][0] > 200
    connection.close()


def test_tombstones_are_not_returned(languages: sqlite3.Connection) -> None:
    connection = database(TEXTS)
    connection.execute("UPDATE documents SET live = 0 WHERE number = 3")
    assert lexical.search(connection, "東京", 5) == []
    assert lexical.search(connection, "東京", 5, compile_where({"x": None}, {})) == []
    connection.close()


def test_removed_texts_leave_no_terms() -> None:
    connection = database(TEXTS)
    before = lexical.search(connection, "fox", 5)
    lexical.add(connection, [(99, "foxes and 東京都 ｶﾀｶﾅ น้ำใจ")])
    connection.execute("INSERT INTO documents (number) VALUES (99)")
    assert 99 in [number for number, _ in lexical.search(connection, "fox", 5)]
    lexical.remove(connection, [(99, "foxes and 東京都 ｶﾀｶﾅ น้ำใจ")])
    assert lexical.search(connection, "fox", 5) == before
    assert 99 not in [number for number, _ in lexical.search(connection, "カタカナ 東京 น้ำ", 50)]
    lexical.remove(connection, TEXTS.items())
    connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('integrity-check')")
    connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab (main, passages_fts, row)")
    assert connection.execute("SELECT count(*) FROM temp.words").fetchone() == (0,)
    connection.close()


def test_filters() -> None:
    filterable = check_filterable({"year": int})
    connection = database({i: f"word n{i}" for i in range(20)} | dict.fromkeys(range(20, 60), "other"), filterable)
    connection.execute("""UPDATE documents SET metadata = '{"year": ' || (2000 + number) || ', "o''k": "é"}'""")
    for where, expected in [
        ({"year": {">=": 2015}}, [15, 16, 17, 18, 19]),
        ({"year": {"in": [2003, 2040]}, "o'k": "é"}, [3]),
        ({"or": [{"year": 2001}, {"year": 2002}]}, [1, 2]),
        ({"not": {"year": {">": 1}}}, []),
    ]:
        hits = lexical.search(connection, "word", 30, compile_where(where, filterable))
        assert sorted(number for number, _ in hits) == expected
    connection.close()


def test_a_read_only_connection_suffices(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("lexical") / "x.sqlite"
    writing = database(TEXTS)
    target = sqlite3.connect(file)
    writing.backup(target)
    writing.close()
    target.close()
    for mode in ("mode=ro", "immutable=1"):
        reading = sqlite3.connect(f"{file.as_uri()}?{mode}", uri=True)
        assert lexical.search(reading, "서울 기차", 1)[0][0] == 9
        reading.close()


def test_a_document_needs_a_word_other_than_function_words() -> None:
    texts = {1: "The origin of bats", 2: "Of mice", 3: "To be or not to be", 4: "It's what bats are for", 5: "Owls"}
    connection = database(texts)

    def found(query: str) -> list[int]:
        return [number for number, _ in lexical.search(connection, query, 5)]

    assert found("quantum chromodynamics of gluons") == []
    assert found("what's the origin of owls?") == [1, 5]
    # The others rank as before, by their function words too.
    assert found("bats of") == [1, 4]
    assert found("bats for") == [4, 1]
    # All that the query has.
    assert found("to be or not to be")[0] == 3
    assert sorted(found("of the")) == [1, 2]
    connection.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40) | st.text(st.sampled_from("\"'*^-+:(){}NEARORANDT \0東ก้a_"), max_size=30))
@example('"')
@example("NEAR(a b, 3)")
@example("a AND NOT b")
@example("\0")
@example("\ud800 a")
def test_no_query_is_parsed_as_syntax(languages: sqlite3.Connection, query: str) -> None:
    hits = lexical.search(languages, query, 5)
    assert len(hits) <= 5
    assert all(math.isfinite(score) and score > 0 for _, score in hits)
    expression = lexical.match_expression(query)
    assert expression is None or re.fullmatch(r'"[^"]+"\*?( OR "[^"]+"\*?)*', expression)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30).filter(lambda text: text.isprintable()))
def test_any_text_finds_itself(text: str) -> None:
    connection = database({1: text, 2: "something else", 3: "altogether", 4: "different"})
    hits = [number for number, _ in lexical.search(connection, text, 5)]
    assert hits[:1] == [1] or lexical.match_expression(text) is None
    lexical.remove(connection, [(1, text)])
    connection.execute("INSERT INTO passages_fts (passages_fts) VALUES ('integrity-check')")
    connection.close()


def test_the_first_single_characters_of_a_query_are_searched_and_all_its_words() -> None:
    characters = [chr(0x4E00 + i) for i in range(1000)]
    words = [f"word{i}" for i in range(1000)]
    phrases = lexical._query_phrases(" ".join(characters + words), ())
    assert phrases == [*(f'"{character}"*' for character in characters[:256]), *(f'"{word}"' for word in words)]


@pytest.mark.parametrize("filterable", [{}, {"year": "int"}])
@pytest.mark.parametrize("where", [None, {"year": {"<": 2000}}, {"year": 1999}])
@pytest.mark.parametrize("query", ["fox", "the fox", "what is the fox of the documents"])
def test_a_query_is_run_once_and_not_for_every_document(
    query: str, where: dict[str, Any] | None, filterable: dict[str, str]
) -> None:
    connection = database({number: f"a fox and the documents {number}" for number in range(1, 300)}, filterable)
    condition = None if where is None else compile_where(where, filterable)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    lexical.search(connection, query, 5, condition)
    lexical.rankings(connection, query, 5, condition, lexical.statistics(connection, query, ()))
    connection.set_trace_callback(None)
    searches = [statement for statement in statements if statement.startswith("SELECT passages_fts.rowid")]
    assert len(searches) >= 2
    for statement in searches:
        plan = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        # "=" is a look-up of one number: the words are looked up again for each.
        assert not [detail for detail in plan if "passages_fts VIRTUAL TABLE INDEX 0:=" in detail], plan
    connection.close()
