"""The command line at first contact: defaults, hints to paste, help."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

# Importing the fixture makes it available to this module's tests.
from test_cli import Shell, ids, shell

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["shell"]


def test_an_index_without_output_is_made_beside_its_source(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my notes"
    folder.mkdir()
    (folder / "bat.txt").write_text("Serotine bats emerge late.", encoding="utf-8")
    output = shell("index", "my notes")
    assert shell.err.startswith("The index is my notes.serotine; -o chooses another place.\n")
    assert ids("my notes.serotine") == {"my notes/bat.txt"}
    hint = output.splitlines()[-1].removeprefix("Search it: ")
    assert shlex.split(hint) == ["serotine", "search", "my notes.serotine", "your query"]
    # The same command updates it.
    assert "1 unchanged" in shell("index", "my notes/")
    shell("index", "corpus.jsonl")
    assert ids("corpus.serotine") == {"bat", "cat", "fish"}
    monkeypatch.chdir(folder)
    assert "1 unchanged" in shell("index", ".")
    assert not (folder / ".serotine").exists()
    message = shell.fails("index", "bat.txt", "../corpus.jsonl", status=2)
    assert "--output: needed for 2 sources; add -o NAME.serotine" in message
