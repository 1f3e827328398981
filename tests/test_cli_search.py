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
