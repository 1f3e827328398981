"""Every option and argument for an encoder takes the same names: short names, the default and folders."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest

# Importing the fixture makes it available to this module's tests.
from test_cli import Shell

from serotine.cli import commands, main
from serotine.encoders.location import locate
from serotine.errors import EncoderError

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "my-encoder"
NAMES = {"default": "serotine-mini", "mini": "serotine-mini", "./" + FOLDER: FOLDER}
# How each option reaches its encoder; NAME is where the name goes.
USES = {
    "index --encoder": ["index", "notes.txt", "-o", "new.serotine", "--encoder", "NAME"],
    "cluster build --encoder": ["cluster", "build", "notes.txt", "-o", "shards", "--shards", "2", "--encoder", "NAME"],
    "bench index --encoder": ["bench", "index", "notes.jsonl", "notes.jsonl", "--cache", "c", "--encoder", "NAME"],
    "bench compression --model": ["bench", "compression", "collection", "--model", "NAME"],
    "compare --model": ["compare", "a", "b", "--collection", "collection", "--model", "NAME"],
    "eval --model": ["eval", "collection", "--model", "NAME"],
    "eval --dense": ["eval", "collection", "--dense", "NAME"],
    "train mine --encoder": ["train", "mine", "pairs.jsonl", "-o", "out.jsonl", "--encoder", "NAME"],
    "train mine --teacher": ["train", "mine", "pairs.jsonl", "-o", "out.jsonl", "--teacher", "NAME"],
    "model info": ["model", "info", "NAME"],
    "model export": ["model", "export", "NAME", "out"],
    "model save": ["model", "save", "NAME", "out"],
}


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in a folder with an encoder and something for every command; locating an encoder ends a command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / "notes.txt").write_text("A late bat.", encoding="utf-8")
    (tmp_path / "notes.jsonl").write_text('{"_id": "a", "text": "A late bat."}\n', encoding="utf-8")
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"query": "bat", "positive": "A bat."}) + "\n", encoding="utf-8")
    collection = tmp_path / "collection"
    (collection / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        (collection / f"{name}.jsonl").write_text('{"_id": "a", "text": "A late bat."}\n', encoding="utf-8")
    (collection / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\ta\t1\n", encoding="utf-8")

    def located(folder: Path, _: str) -> Any:
        raise EncoderError(f"located {folder}")

    monkeypatch.setattr("serotine.encoders.encoder.read_checkpoint", located)
    monkeypatch.setattr(sys.modules["serotine.cli.compare"], "_collections", lambda *_: {})
    return Shell(capfd)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("use", USES)
def test_every_encoder_is_found_by_every_option(shell: Shell, use: str, name: str) -> None:
    if use.startswith("train"):
        pytest.importorskip("torch")
    shell(*[name if word == "NAME" else word for word in USES[use]], status=1)
    assert f"error: located {locate(name).folder}" in shell.err


@pytest.mark.parametrize("use", ["model info", "model export", "index --encoder", "eval --model"])
def test_a_folder_with_the_name_of_an_installed_encoder_is_named(shell: Shell, tmp_path: Path, use: str) -> None:
    for name in ("mini", "serotine-mini"):
        line = (
            f"warning: encoder: '{name}' is the installed serotine-mini, not the folder of that name; pass "
            f"'./{name}' for the folder\n"
        )
        words = [name if word == "NAME" else word for word in USES[use]]
        (tmp_path / name).mkdir()
        shell(*words, status=1)
        assert "folder of that name" not in shell.err
        (tmp_path / name / "config.json").touch()
        shell(*words, status=1)
        assert shell.err.count(line) == 1
        shell(*[f"./{word}" if word == name else word for word in words], status=1)
        assert "folder of that name" not in shell.err


def test_an_index_is_opened_without_a_word_about_a_folder_of_its_encoders_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "serotine-mini").mkdir()
    (tmp_path / "serotine-mini" / "config.json").touch()
    (tmp_path / "bats.txt").write_text("A late bat.", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["index", "bats.txt"]) == 0
    assert main(["search", "bats.serotine", "a late bat"]) == 0
    assert "folder of that name" not in capsys.readouterr().err


def test_no_option_for_an_encoder_is_left_out() -> None:
    def options(group: click.Group, words: tuple[str, ...]) -> set[str]:
        found = set()
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                found |= options(command, (*words, name))
            else:
                names = {option for parameter in command.params for option in parameter.opts}
                found |= {" ".join((*words, name, option)) for option in names & {"--encoder", "--model", "--dense"}}
                # `model verify` takes the few models that have published scores.
                if words == ("model",) and "name" in names and name != "verify":
                    found.add(" ".join((*words, name)))
        return found

    assert isinstance(commands, click.Group)
    assert options(commands, ()) == set(USES) - {"train mine --teacher"}


def test_a_format_that_cannot_hold_the_encoder_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("serotine_mini")
    assert main(["model", "save", "serotine-mini", str(tmp_path / "saved"), "--format", "pylate"]) == 1
    assert "cannot store which tokens are scored; save it without --format\n" in capsys.readouterr().err
