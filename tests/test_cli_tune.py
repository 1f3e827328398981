"""``serotine tune``: which files of queries it reads, and what it says of few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.small_engine import THRESHOLDS

# Importing the fixture makes it available to this module's tests.
from test_cli import Shell, shell, write_jsonl

__all__ = ["shell"]

QUERIES = ("late bat", "which bat is early?", "owls", "evening")


@pytest.fixture
def coded(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a shell in a folder with the index i.serotine, whose searches depend on their effort."""
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)
    texts = {str(i): f"bat {i} is {'late' if i % 3 else 'early'} on evening {i * 7}" for i in range(90)}
    write_jsonl(tmp_path / "bats.jsonl", texts)
    shell("index", "bats.jsonl", "--output", "i.serotine")
    shell("compact", "i.serotine")
    return shell


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("queries.txt", "\n  late bat\n\nwhich bat is early?\r\nowls\nevening\n"),
        ("queries.jsonl", "".join(json.dumps({"text": query}) + "\n" for query in QUERIES)),
        ("queries.csv", "text\n" + "".join(f'"{query}"\n' for query in QUERIES)),
    ],
)
def test_a_query_is_a_line_of_a_text_or_a_record(coded: Shell, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    tuned = coded.json("tune", "i.serotine", "--queries", name)
    assert tuned["calibration"]["queries"] == len(QUERIES)
    assert tuned["statement"].startswith("Measured with 4 queries (the queries given): recall 0.99 takes ")
    assert "Fewer than 64 queries prove little" in tuned["statement"]


def test_one_query_is_one(coded: Shell, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("late bat", encoding="utf-8")
    assert "Measured with 1 query (the queries given)" in coded("tune", "i.serotine", "--queries", "one.txt")


def test_a_file_that_is_no_list_changes_nothing(coded: Shell, tmp_path: Path) -> None:
    coded("tune", "i.serotine")
    before = coded.json("info", "i.serotine")["calibration"]
    (tmp_path / "page.md").write_text("# Bats\n\nLate bats.\n", encoding="utf-8")
    (tmp_path / "blank.jsonl").write_text('{"text": " "}\n', encoding="utf-8")
    message = coded.fails("tune", "i.serotine", "--queries", "page.md", status=2)
    assert "--queries: must be a list, got one text: page.md; give a .txt file with one query per line" in message
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    assert "blank.jsonl:1: 'text' is empty" in coded.fails("tune", "i.serotine", "--queries", "blank.jsonl")
    assert "blank.txt: contains no documents" in coded.fails("tune", "i.serotine", "--queries", "blank.txt")
    assert coded.json("info", "i.serotine")["calibration"] == before


def test_lines_that_are_no_queries(coded: Shell, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("\u200b\nlate bat\nlate\x0cbat\nlate bat\n", encoding="utf-8")
    tuned = coded("tune", "i.serotine", "--queries", "odd.txt")
    assert "Measured with 2 queries" in tuned
    (tmp_path / "long.txt").write_text("late bat\n" + "x" * 70_000 + "\n", encoding="utf-8")
    message = coded.fails("tune", "i.serotine", "--queries", "long.txt")
    assert "long.txt:2: has 70,000 characters, a query has at most 65,536; shorten it" in message
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": "x" * 70_000}) + "\n", encoding="utf-8")
    assert "long.jsonl:1: has 70,000" in coded.fails("tune", "i.serotine", "--queries", "long.jsonl")
    (tmp_path / "unseen.txt").write_text("\u200b\n", encoding="utf-8")
    assert "unseen.txt: contains no documents" in coded.fails("tune", "i.serotine", "--queries", "unseen.txt")
