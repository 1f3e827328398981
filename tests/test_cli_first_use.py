"""The command line at first contact: defaults, hints to paste, help."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
import pytest

# Importing the fixture makes it available to this module's tests.
from test_cli import Shell, ids, shell

from serotine.cli import commands
from serotine.ingest import SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

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
    # Nothing is announced before the sources were read.
    (tmp_path / "nothing").mkdir()
    for source in ("none", "none.csv", "nothing"):
        message = shell.fails("index", source)
        assert message.startswith(f"error: {source}: "), message
        assert len(message.splitlines()) == 1
    # The same command updates it.
    assert "1 unchanged" in shell("index", "my notes/")
    shell("index", "corpus.jsonl")
    assert ids("corpus.serotine") == {"bat", "cat", "fish"}
    monkeypatch.chdir(folder)
    assert "1 unchanged" in shell("index", ".")
    assert not (folder / ".serotine").exists()
    message = shell.fails("index", "bat.txt", "../corpus.jsonl", status=2)
    assert "--output: needed for 2 sources; add -o NAME.serotine" in message


def test_without_arguments_it_says_how_to_start(shell: Shell) -> None:
    shell(status=2)
    assert shell.out == ""
    assert shell.err.count("\n") == 4
    assert "serotine index FOLDER " in shell.err


def test_a_mistyped_command_names_the_near_one(shell: Shell) -> None:
    assert "no command 'serach'; did you mean 'search'; see serotine --help" in shell.fails("serach", status=2)
    assert "no command 'frobnicate'; see serotine --help" in shell.fails("frobnicate", status=2)


def test_the_help_of_every_command_renders(shell: Shell) -> None:
    def check(group: click.Group, words: tuple[str, ...]) -> int:
        count = 0
        for name, command in group.commands.items():
            output = shell(*words, name, "--help")
            assert output.startswith("Usage: serotine ")
            assert "\\b" not in output
            assert "\b" not in output
            count += 1
            if isinstance(command, click.Group):
                count += check(command, (*words, name))
        return count

    assert isinstance(commands, click.Group)
    assert check(commands, ()) > 15


def test_a_mistyped_command_of_a_group_names_the_near_one(shell: Shell) -> None:
    assert "no command 'exprt'; did you mean 'export'; see serotine model --help" in shell.fails(
        "model", "exprt", status=2
    )
    assert "no command 'mne'; did you mean 'mine'; see serotine train --help" in shell.fails("train", "mne", status=2)
    assert "File 'recipe.yaml' does not exist" in shell.fails("train", "recipe.yaml", status=2)
    assert "no command 'idnex'; did you mean 'index'; see serotine bench --help" in shell.fails(
        "bench", "idnex", status=2
    )


@pytest.mark.parametrize("command", ["index", "add"])
def test_the_help_lists_every_type_of_file_that_is_read(shell: Shell, command: str) -> None:
    words = shell(command, "--help").replace(".\n", " ").replace(",", " ").split()
    assert set(SUFFIXES) <= {word.rstrip(".") for word in words}
