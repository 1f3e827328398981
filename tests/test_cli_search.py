"""``serotine search``: pages, thresholds and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Importing the fixture makes it available to this module's tests.
from test_cli import Shell, shell

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
    assert f"  2  {first['score']:7.3f}  {first['id']}" in shell("search", "i.serotine", "late evening", "--offset", 1)
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
    assert nothing == f"No document reaches --min-score 1.5: the best has {best:.3f}; 3 of the best are below it.\n"
    message = shell.fails("search", "i.serotine", "late", "--mode", "bm25", "--min-score", "0.5", status=2)
    assert "--min-score: needs --mode late or hybrid, got --mode bm25" in message
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
