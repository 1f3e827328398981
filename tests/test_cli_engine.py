"""The commands over a compressed index: how it is made, filters, modes, compaction, and what is said of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from small_engine import THRESHOLDS
from test_cli import Shell, shell

from serotine.index import Index

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["shell"]  # a fixture, used by its name


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in THRESHOLDS:
        monkeypatch.setattr(module, name, value)


def corpus(folder: Path, count: int = 60) -> Path:
    rows = [{"_id": f"d{i}", "text": f"word{i % 7} bat {i}", "year": 2000 + i, "lang": "en"} for i in range(count)]
    path = folder / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_index_is_made_as_asked(shell: Shell, tmp_path: Path) -> None:
    options = ("--nbits", "2", "--no-keep-vectors", "--filterable", "year:int", "--filterable", "lang:str")
    shell("index", corpus(tmp_path), "-o", "i.serotine", *options)
    stats = shell.json("info", "i.serotine")
    assert (stats["nbits"], stats["keep_vectors"]) == (2, False)
    assert stats["filterable"] == {"year": "int", "lang": "str"}
    assert stats["coded_tokens"] > 0
    words = shell("info", "i.serotine")
    assert "2 bits a dimension" in words
    assert "without their vectors" in words
    assert "year (int), lang (str)" in words
    assert "A search  looks at the centroids" in words
    assert "codebook" in shell("verify", "i.serotine")


def test_a_small_index_says_that_it_is_searched_whole(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    words = shell("info", "i.serotine")
    assert "none yet" in words
    assert "scores the vectors of every document, exactly" in words


@pytest.mark.parametrize("wrong", ["year", "year:date", ":int", "year:"])
def test_a_field_without_a_type_is_refused(shell: Shell, wrong: str) -> None:
    message = shell.fails("index", "corpus.jsonl", "-o", "i.serotine", "--filterable", wrong, status=2)
    assert "want NAME:TYPE with one of str, int, float, bool" in message


def test_resuming_with_other_options_is_refused(shell: Shell, tmp_path: Path) -> None:
    path = corpus(tmp_path)
    shell("index", path, "-o", "i.serotine", "--nbits", "2")
    shell("index", path, "-o", "i.serotine", "--resume")
    shell("index", path, "-o", "i.serotine", "--resume", "--nbits", "2", "--keep-vectors")
    message = shell.fails("index", path, "-o", "i.serotine", "--resume", "--nbits", "8", status=2)
    assert "--nbits: the index was made with 2; leave the option out" in message


def test_csv_fields_become_what_they_are_declared(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,year,open,price\na,bat one,2001,true,1.5\nb,bat two,2002,False,\n")
    declared = ("--filterable", "year:int", "--filterable", "open:bool", "--filterable", "price:float")
    shell("index", "t.csv", "-o", "i.serotine", *declared)
    found = shell.json("search", "i.serotine", "bat", "--where", '{"year": {">": 2001}, "open": false}')
    assert [(hit["id"], hit["metadata"]) for hit in found["hits"]] == [("b", {"year": 2002, "open": False})]
    (tmp_path / "t.csv").write_text("id,text,year\na,bat one,MMI\n")
    message = shell.fails("index", "t.csv", "-o", "j.serotine", *declared)
    assert "t.csv" in message
    assert "the field 'year' of 'a' is 'MMI', which is no int" in message


def test_filters(shell: Shell, tmp_path: Path) -> None:
    shell("index", corpus(tmp_path), "-o", "i.serotine", "--filterable", "year:int")
    found = shell.json("search", "i.serotine", "bat", "-k", "99", "--where", '{"year": {">=": 2050}, "lang": "en"}')
    assert {hit["id"] for hit in found["hits"]} == {f"d{i}" for i in range(50, 60)}
    assert found["where"] == {"year": {">=": 2050}, "lang": "en"}
    assert found["stats"]["documents"] == 10
    assert "No document matches." in shell("search", "i.serotine", "bat", "--where", '{"lang": "fr"}')
    for wrong, said in (
        ("year", "is not JSON"),
        ("[1]", "want a JSON object"),
        ('{"year": {"~": 1}}', "~"),
        ('{"year": "x"}', "year"),
        ("{}", "where"),
    ):
        assert said in shell.fails("search", "i.serotine", "bat", "--where", wrong, status=2)


def test_modes(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("index", corpus(tmp_path), "-o", "i.serotine")
    both = shell.json("search", "i.serotine", "word3 bat", "--mode", "hybrid")
    assert both["stats"]["plan"].endswith("+ bm25")
    assert both["mode"] == "hybrid"
    assert "exact" in shell.fails("search", "i.serotine", "bat", "--mode", "bm25", "--exact", status=2)
    # Words need no encoder.
    monkeypatch.setattr("serotine.encoders.Encoder", None)
    words = shell("search", "i.serotine", "word3", "--mode", "bm25", "-k", "2")
    assert "**word3**" in words
    assert "2 documents by their words" in words
    assert shell.json("search", "i.serotine", "nowhere", "--mode", "bm25")["hits"] == []


def test_a_search_tells_its_stages(shell: Shell, tmp_path: Path) -> None:
    shell("index", corpus(tmp_path), "-o", "i.serotine")
    shell("compact", "i.serotine")
    told = shell("search", "i.serotine", "bat 3").splitlines()[-1]
    assert "60 documents by their codes" in told
    assert "20 documents by their vectors" in told
    assert "Exact: " in shell("search", "i.serotine", "bat 3", "--exact")


def test_compaction(shell: Shell, tmp_path: Path) -> None:
    shell("index", corpus(tmp_path), "-o", "i.serotine")
    shell("delete", "i.serotine", *(f"d{i}" for i in range(20)))
    result = shell.json("compact", "i.serotine")
    assert (result["before"]["deleted"], result["after"]["deleted"]) == (20, 0)
    assert result["after"]["segments"] == 1
    assert result["after"]["bytes"] < result["before"]["bytes"]
    assert "1 segment of" in shell("compact", "i.serotine")
    with Index.open("i.serotine") as index:
        assert len(index) == 40
        assert "another writer" in shell.fails("compact", "i.serotine")
