"""``serotine search``: pages, thresholds, groups, several indexes, and what its errors say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from helpers.cli_fake import FakeEncoder

# Importing the fixture makes it available to this module's tests.
from test_cli import Shell, shell, write_jsonl

from serotine.cli import search_results

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["shell"]


def test_offset_prints_the_next_page_with_its_ranks(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "--output", "i.serotine")
    whole = shell.json("search", "i.serotine", "late evening", "-k", 3)
    page = shell.json("search", "i.serotine", "late evening", "-k", 2, "--offset", 1)
    assert page["hits"] == whole["hits"][1:]
    assert [hit["rank"] for hit in page["hits"]] == [2, 3]
    assert (page["k"], page["offset"], page["query"]) == (2, 1, "late evening")
    first = whole["hits"][1]
    shown = shell("search", "i.serotine", "late evening", "--offset", 1)
    assert f"  2  {first['score_per_token']:7.3f}  {first['id']}" in shown
    assert "No document after the first 3." in shell("search", "i.serotine", "late", "--offset", 3)
    assert "--offset" in shell.fails("search", "i.serotine", "late", "--offset", -1, status=2)


def test_a_lowest_score_leaves_out_what_does_not_fit(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "--output", "i.serotine")
    every = shell.json("search", "i.serotine", "late evening")["hits"]
    lowest = (every[0]["score_per_token"] + every[1]["score_per_token"]) / 2
    result = shell.json("search", "i.serotine", "late evening", "--min-score", lowest)
    assert [hit["id"] for hit in result["hits"]] == [every[0]["id"]]
    assert (result["stats"]["below_min_score"], result["min_score"]) == (2, lowest)
    assert "2 more documents below --min-score" in shell("search", "i.serotine", "late evening", "--min-score", lowest)
    nothing = shell("search", "i.serotine", "late evening", "--min-score", 1.5)
    best = every[0]["score_per_token"]
    assert nothing == f"No document reaches --min-score 1.5: the best has {best:.3f}.\n"
    page = shell("search", "i.serotine", "late evening", "--min-score", lowest, "--offset", 5)
    assert page == f"No document after the first 5 reaches --min-score {lowest:g}.\n"
    message = shell.fails("search", "i.serotine", "late", "--mode", "bm25", "--min-score", "0.5", status=2)
    assert "--min-score: needs --mode late or hybrid, got --mode bm25" in message
    message = shell.fails("search", "i.serotine", "late", "--exact", "--recall", "0.9", status=2)
    assert "--recall: cannot be used with --exact, got both; drop one of the two" in message
    assert "--min-score: must be finite" in shell.fails("search", "i.serotine", "x", "--min-score", "nan", status=2)


def test_a_file_is_one_document_when_grouped(shell: Shell, tmp_path: Path) -> None:
    text = "\n\n".join(f"Serotine bats emerge late, paragraph {number}." for number in range(40))
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    shell("index", "long.txt", "corpus.jsonl", "--output", "i.serotine", "--chunk-tokens", 32)
    hits = shell.json("search", "i.serotine", "bats", "-k", 9, "--group-by", "document")["hits"]
    assert len(hits) == 4
    (grouped,) = [hit for hit in hits if hit["id"].startswith("long.txt#")]
    assert grouped["other_passages"] > 0
    shown = shell("search", "i.serotine", "bats", "--group-by", "document")
    assert f"{grouped['id']}  (and {grouped['other_passages']} more passages)" in shown


def test_several_indexes_are_searched_as_one(shell: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "more.jsonl", {"late": "Late, late bats of the evening.", "owl": "An owl."})
    shell("index", "corpus.jsonl", "more.jsonl", "-o", "both.serotine")
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    shell("index", "more.jsonl", "-o", "more.serotine")
    both = shell.json("search", "both.serotine", "late evening")["hits"]
    result = shell.json("search", "i.serotine", "more.serotine", "late evening")
    assert [(hit["id"], hit["score"]) for hit in result["hits"]] == [(hit["id"], hit["score"]) for hit in both]
    assert {hit["id"]: hit["index"] for hit in result["hits"]}["late"] == "more.serotine"
    assert [one["index"] for one in result["indexes"]] == ["i.serotine", "more.serotine"]
    assert result["query"] == "late evening"
    page = shell.json("search", "i.serotine", "more.serotine", "late evening", "-k", 2, "--offset", 1)
    assert page["hits"] == result["hits"][1:3]
    output = shell("search", "i.serotine", "more.serotine", "late evening", "--exact")
    assert "  late  (more.serotine)\n" in output
    assert "5 of 5 documents of 2 indexes in " in output
    assert "i.serotine: Exact: " in output
    # A name of an index is no query, whether or not there is such an index.
    for words in (["more.serotine"], ["more.serotine", "i.serotine"], ["none.serotine"], ["more.serotine/"]):
        message = shell.fails("search", "i.serotine", *words, status=2)
        assert f"QUERY: missing after the index {words[-1]}; add the words to search for" in message
    assert shell.json("search", "i.serotine", "where is more.serotine")["query"] == "where is more.serotine"
    assert "no such index; did you mean more.serotine" in shell.fails("search", "i.serotine", "mre.serotine", "late")


@pytest.mark.parametrize("mode", ["late", "hybrid", "bm25"])
def test_no_lower_score_of_several_indexes_is_above_a_higher_one(shell: Shell, tmp_path: Path, mode: str) -> None:
    # The words are in every document of one index, and in few of the other: their scores by words differ.
    write_jsonl(tmp_path / "bats.jsonl", {f"b{i}": f"Late bats of the evening, number {i}." for i in range(6)})
    write_jsonl(
        tmp_path / "rest.jsonl", {"r0": "A late train.", **{f"r{i}": f"Bread number {i}." for i in range(1, 9)}}
    )
    for name in ("bats", "rest"):
        shell("index", f"{name}.jsonl")
    search = ("search", "bats.serotine", "rest.serotine", "late evening", "--mode", mode, "-k", 9)
    hits = shell.json(*search)["hits"]
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert {hit["index"] for hit in hits} == {"bats.serotine", "rest.serotine"}
    shown = [float(number) for number in re.findall(r"^ *\d+ +([\d.]+) ", shell(*search), re.MULTILINE)]
    assert len(shown) == len(hits)
    assert shown == sorted(shown, reverse=True)
    alone = shell.json("search", "bats.serotine", "late evening", "--mode", mode, "-k", 9)["hits"]
    assert [hit["id"] for hit in alone] == [hit["id"] for hit in hits if hit["id"].startswith("b")][: len(alone)]
    page = shell.json(*search[:-1], 3, "--offset", 2)["hits"]
    assert page == hits[2:5]


def test_scores_are_shown_in_the_scale_of_min_score(shell: Shell, tmp_path: Path) -> None:
    shell("index", "corpus.jsonl", "--output", "i.serotine")
    best = shell.json("search", "i.serotine", "late evening")["hits"][0]
    assert best["score"] > best["score_per_token"]
    per_token = f"{best['score_per_token']:.3f}"
    assert f"  1  {per_token:>7}  {best['id']}\n" in shell("search", "i.serotine", "late evening")
    detailed = shell("search", "i.serotine", "late evening", "--verbose")
    assert f"  1  {per_token:>7} (sum {best['score']:.3f})  {best['id']}\n" in detailed
    both = shell("search", "i.serotine", "late evening", "--mode", "hybrid")
    assert f"  1   0.0328 ({per_token} per query token)  {best['id']}\n" in both
    by_words = shell.json("search", "i.serotine", "late", "--mode", "bm25")["hits"][0]
    assert f" {by_words['id']}\n" in shell("search", "i.serotine", "late", "--mode", "bm25")
    assert by_words["score_per_token"] is None
    assert "scale of --min-score" in " ".join(shell("search", "--help").split())


def test_code_keeps_its_lines(shell: Shell, tmp_path: Path) -> None:
    pytest.importorskip("tree_sitter")
    code = "def roost(bat):\n    if bat.late:\n\treturn 'evening'\n    return None\n"
    (tmp_path / "roost.py").write_text(code, encoding="utf-8")
    (tmp_path / "config.yaml").write_text("roost:\n  late: evening\n", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("A late roost,\nin the evening.\n", encoding="utf-8")
    shell("index", "roost.py", "config.yaml", "notes.txt", "-o", "i.serotine")
    shown = shell("search", "i.serotine", "late evening roost")
    assert "\n     def roost(bat):\n         if bat.late:\n         return 'evening'\n         return None\n" in shown
    assert "\n     roost:\n       late: evening\n" in shown
    assert "\n     A late roost, in the evening.\n" in shown


def test_a_mistyped_second_index_is_no_part_of_the_query(shell: Shell, tmp_path: Path) -> None:
    for name in ("notes", "letters"):
        shell("index", "corpus.jsonl", "-o", f"{name}.serotine")
    hint = "; quote the query if this is a word of it\n"
    for word, near in (("leters", "letters"), ("letters", "letters"), ("leters.serotin", "letters")):
        message = shell.fails("search", "notes.serotine", word, "late evening")
        assert message == f"error: {word}: no such index; did you mean {near}.serotine{hint}"
    for word in ("./leters", str(tmp_path / "leters")):
        message = shell.fails("search", "notes.serotine", word, "late evening")
        assert message.startswith(f"error: {word.removeprefix('./')}: no such index; did you mean ")
        assert message.endswith(hint)
    assert shell.fails("search", "notes.serotine", "./x", "late") == f"error: x: no such index{hint}"
    assert shell.fails("search", "notes.serotine", "x.serotin", "late") == f"error: x.serotin: no such index{hint}"
    assert "no such index; did you mean notes.serotine" in shell.fails("search", "notes.serotin", "late")
    shell("search", "notes.serotine", "late", "letters.serotine", status=2)
    assert "letters.serotine: an index after the query is not searched; put indexes before the query" in shell.err
    (tmp_path / "docs").mkdir()
    assert "docs: is a folder of files, not an index" in shell.fails("search", "notes.serotine", "./docs", "late")
    # Words of a query: one with a slash, the name of the index itself, a quoted query, the last word.
    for query in (["TCP/IP", "late"], ["note", "late"], ["leters of evening"], ["late", "leters"]):
        assert shell.json("search", "notes.serotine", *query)["query"] == " ".join(query)


def test_indexes_of_different_encoders_are_searched_only_by_words(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    monkeypatch.setattr(FakeEncoder, "name", "other")
    shell("index", "corpus.jsonl", "-o", "other.serotine")
    message = shell.fails("search", "i.serotine", "other.serotine", "late evening")
    assert "i.serotine, other.serotine: have different encoders (fake, other), whose scores cannot" in message
    hits = shell.json("search", "i.serotine", "other.serotine", "late evening", "--mode", "bm25")["hits"]
    assert [hit["index"] for hit in hits[:2]] == ["i.serotine", "other.serotine"]


def test_the_details_come_after_the_count(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    *_, count, details = shell("search", "i.serotine", "late evening", "--verbose").splitlines()
    assert count.startswith("3 of 3 documents in ")
    assert details.startswith("All 3 documents by their vectors in ")


def test_a_path_that_is_no_index_names_what_to_do(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "my notes").mkdir()
    for command in ("search", "info", "verify"):
        words = ["late"] if command == "search" else []
        message = shell.fails(command, "my notes", *words)
        assert (
            message
            == "error: my notes: is a folder of files, not an index; create one with: serotine index 'my notes'\n"
        )
    assert "corpus.jsonl: is a file, not an index; create one with: serotine index corpus.jsonl" in shell.fails(
        "search", "corpus.jsonl", "late"
    )
    (tmp_path / "wiki/shard-00000").mkdir(parents=True)
    (tmp_path / "wiki/shards.json").write_text("{}")
    assert (
        shell.fails("search", "wiki", "late", "--mode", "xtr")
        == "error: wiki: is an index in shards, which a server searches; start one with: serotine serve --ray wiki\n"
    )
    (tmp_path / "plain").write_text("")
    message = shell.fails("index", "corpus.jsonl", "-o", "plain")
    assert message == "error: plain: is a file, not an index; name another with --output\n"
    message = shell.fails("search", "corpus.serotine", "late")
    assert (
        message == "error: corpus.serotine: no such index; create one with: serotine index FOLDER -o corpus.serotine\n"
    )
    shell("index", "corpus.jsonl")
    assert "corpus.jsonl: is a file, not an index; its index is corpus.serotine" in shell.fails("info", "corpus.jsonl")
    for near in ("corpus", "corpsu.serotine"):
        assert f"{near}: no such index; did you mean corpus.serotine" in shell.fails("search", near, "late")
    # The suffix makes no name alike.
    (tmp_path / "corpus.serotine").rename(tmp_path / "p.serotine")
    assert "no such index; create one with: " in shell.fails("search", "wiki.serotine", "late")


def test_an_empty_index_names_the_command_that_fills_it(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "-o", "my notes.serotine")
    shell("delete", "my notes.serotine", "bat", "cat", "fish")
    expected = "my notes.serotine: has no documents; add some with: serotine add 'my notes.serotine' FILE\n"
    assert shell("search", "my notes.serotine", "late") == expected


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("yaer=5", {"yaer": 5}),
        ("lang = en", {"lang": "en"}),
        ("year>=2020", {"year": {">=": 2020}}),
        ("{'lang': 'en'}", {"lang": "en"}),
        ("[1]", {"lang": "en", "year": {">=": 2020}}),
        ("{1, 2}", {"lang": "en", "year": {">=": 2020}}),
    ],
)
def test_a_filter_that_is_no_json_is_answered_by_one_that_is(shell: Shell, given: str, meant: dict[str, Any]) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    message = shell.fails("search", "i.serotine", "late", "--where", given, status=2)
    assert f"must be a JSON object, got {given!r}; write --where '{json.dumps(meant)}'" in message
    assert "Expecting" not in message


def test_a_tiny_score_is_not_printed_as_zero(shell: Shell, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "one.jsonl", {"bats": "Bats fly at night."})
    shell("index", "one.jsonl", "--output", "one.serotine")
    (hit,) = shell.json("search", "one.serotine", "bats", "--mode", "bm25")["hits"]
    assert 0 < hit["score"] < 0.0001
    assert "  1  <0.0001  bats\n" in shell("search", "one.serotine", "bats", "--mode", "bm25")


@pytest.mark.parametrize(
    ("metadata", "shown"),
    [
        ({"source": "pump.pdf", "page": 3}, "  (page 3)"),
        ({"source": "pump.pdf", "page": 3, "last_page": 3}, "  (page 3)"),
        ({"source": "pump.pdf", "page": 3, "last_page": 4}, "  (pages 3 to 4)"),
        # Fields of a person's own.
        ({"page": 3}, ""),
        ({"source": "pump.jsonl", "page": "iii"}, ""),
        ({"source": "pump.md"}, ""),
    ],
)
def test_the_page_of_a_passage_is_printed(metadata: dict[str, Any], shown: str) -> None:
    assert search_results._pages(metadata) == shown
