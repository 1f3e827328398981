"""Commands on a compressed index: creation options, filters, modes, compaction and reports."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.small_engine import THRESHOLDS
from test_cli import Shell, shell

from serotine.cli.info import _describe
from serotine.cli.search_results import _stages
from serotine.index import FIRST_TRAINING, Index, SearchStats

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


def test_index_options_are_applied(shell: Shell, tmp_path: Path) -> None:
    options = ("--nbits", "2", "--no-keep-vectors", "--filterable", "year:int", "--filterable", "lang:str")
    shell("index", corpus(tmp_path), "-o", "i.serotine", *options)
    stats = shell.json("info", "i.serotine")
    assert (stats["nbits"], stats["keep_vectors"]) == (2, False)
    assert stats["filterable"] == {"year": "int", "lang": "str"}
    assert stats["coded_tokens"] > 0
    output = shell("info", "i.serotine")
    assert "2 bits per dimension" in output
    assert "without their vectors" in output
    assert "year (int), lang (str)" in output
    assert "A search  scores documents by their centroids" in output
    assert "codebook" in shell("verify", "i.serotine")


def test_info_reports_that_a_small_index_is_scored_exactly(shell: Shell) -> None:
    shell("index", "corpus.jsonl", "-o", "i.serotine")
    output = shell("info", "i.serotine")
    assert "none yet" in output
    assert "scores the vectors of every document, exactly" in output
    with Index.open("i.serotine", read_only=True) as index:
        stats = index.stats()
    # Where the training of a codebook was interrupted.
    interrupted = _describe(Path("i.serotine"), replace(stats, tokens=FIRST_TRAINING), None, Counter())
    assert "none yet: all vectors are float16. The next change trains a codebook and compresses them." in interrupted


@pytest.mark.parametrize("declaration", ["year", "year:date", ":int", "year:"])
def test_a_field_without_a_type_is_rejected(shell: Shell, tmp_path: Path, declaration: str) -> None:
    message = shell.fails("index", "corpus.jsonl", "-o", "i.serotine", "--filterable", declaration, status=2)
    assert "must be NAME:TYPE with TYPE one of str, int, float, bool" in message
    assert not list(tmp_path.glob("*.serotine"))


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (["and:int"], "'and' is reserved in filters"),
        (['a"b:int'], "double quote"),
        (["year:int", "year:str"], "two types for 'year'"),
    ],
)
def test_an_unusable_field_name_is_rejected(shell: Shell, declared: list[str], expected: str) -> None:
    options = [word for value in declared for word in ("--filterable", value)]
    assert expected in shell.fails("index", "corpus.jsonl", "-o", "i.serotine", *options, status=2)


def test_resuming_with_other_options_is_rejected(shell: Shell, tmp_path: Path) -> None:
    path = corpus(tmp_path)
    shell("index", path, "-o", "i.serotine", "--nbits", "2")
    shell("index", path, "-o", "i.serotine")
    shell("index", path, "-o", "i.serotine", "--nbits", "2", "--keep-vectors")
    for options, expected in (
        (["--nbits", "8"], "--nbits 8: the index was created with --nbits 2; leave the option out"),
        (["--no-keep-vectors"], "--no-keep-vectors: the index was created with --keep-vectors; leave"),
        (["--filterable", "year:int"], "--filterable year:int: the index was created with no --filterable; leave"),
    ):
        assert expected in shell.fails("index", path, "-o", "i.serotine", *options, status=2)


def test_the_order_of_declared_fields_makes_no_difference(shell: Shell, tmp_path: Path) -> None:
    path = corpus(tmp_path)
    fields = [("--filterable", "year:int"), ("--filterable", "lang:str")]
    shell("index", path, "-o", "i.serotine", *fields[0], *fields[1])
    assert shell.json("index", path, "-o", "i.serotine", *fields[1], *fields[0])["files"]["unchanged"] == 1


def test_csv_fields_are_converted_to_their_declared_types(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,year,open,price\na,bat one,2001,true,1.5\nb,bat two,2002,False,\n")
    declared = ("--filterable", "year:int", "--filterable", "open:bool", "--filterable", "price:float")
    shell("index", "t.csv", "-o", "i.serotine", *declared)
    result = shell.json("search", "i.serotine", "bat", "--where", '{"year": {">": 2001}, "open": false}')
    assert [(hit["id"], hit["metadata"]) for hit in result["hits"]] == [
        ("b", {"year": 2002, "open": False, "source": "t.csv", "line": 3})
    ]
    (tmp_path / "t.csv").write_text("id,text,year\nc,bat three,2003\n")
    shell("add", "i.serotine", "t.csv")
    (hit,) = shell.json("search", "i.serotine", "bat", "--where", '{"year": 2003}')["hits"]
    assert hit["id"] == "c"


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ("int", "MMI", "a 64-bit int, got 'MMI'"),
        ("int", "1_000", "a 64-bit int, got '1_000'"),
        ("int", "2.5", "a 64-bit int, got '2.5'"),
        ("int", str(2**63), f"a 64-bit int, got '{2**63}'"),
        ("int", "9" * 5000, "a 64-bit int, got '999"),
        ("int", 2002.5, "a 64-bit int, got 2002.5"),
        ("int", [2001, "x"], "a 64-bit int, got [2001, 'x']"),
        ("float", "nan", "a float, got 'nan'"),
        ("float", "1e999", "a float, got '1e999'"),
        ("bool", "perhaps", "a bool, got 'perhaps'"),
        ("str", 2001, "a str, got 2001"),
    ],
)
def test_a_row_with_a_value_of_the_wrong_type_is_skipped_and_counted(
    shell: Shell, tmp_path: Path, declared: str, value: object, expected: str
) -> None:
    rows: list[dict[str, object]] = [{"_id": f"d{i}", "text": "bat", "field": None} for i in range(99)]
    rows.append({"_id": "bad", "text": "bat", "field": value})
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    option = ("--filterable", f"field:{declared}")
    summary = shell.json("index", "t.jsonl", "-o", "i.serotine", *option)
    (row,) = summary["skipped_rows"]["first"]
    assert row["reason"].startswith("field 'field' of 'bad' must be ")
    assert expected in row["reason"]
    assert (row["file"], row["line"], summary["skipped_rows"]["count"]) == ("t.jsonl", 100, 1)
    assert summary["documents"] == 99
    assert "warning: skipped row: t.jsonl:100: field 'field' of 'bad' must be " in shell.err


@pytest.mark.parametrize(("declared", "value"), [("int", "MMI"), ("bool", "perhaps")])
def test_with_strict_a_value_of_the_wrong_type_is_an_error_before_anything_is_written(
    shell: Shell, tmp_path: Path, declared: str, value: str
) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"_id": "bad", "text": "bat", "field": value}) + "\n")
    option = ("--filterable", f"field:{declared}")
    shell("index", "t.jsonl", "-o", "i.serotine", *option, "--strict", status=1)
    kind = {"int": "64-bit int", "bool": "bool"}[declared]
    error = f"error: t.jsonl:1: field 'field' of 'bad' must be a {kind}, got {value!r}"
    assert error in shell.err
    assert not (tmp_path / "i.serotine").exists()
    shell("index", "corpus.jsonl", "-o", "i.serotine", *option)
    shell("add", "i.serotine", "t.jsonl", "--strict", status=1)
    assert error in shell.err
    assert shell.json("info", "i.serotine")["documents"] == 3


def test_filters(shell: Shell, tmp_path: Path) -> None:
    shell("index", corpus(tmp_path), "-o", "i.serotine", "--filterable", "year:int")
    result = shell.json("search", "i.serotine", "bat", "-k", "99", "--where", '{"year": {">=": 2050}, "lang": "en"}')
    assert {hit["id"] for hit in result["hits"]} == {f"d{i}" for i in range(50, 60)}
    assert result["where"] == {"year": {">=": 2050}, "lang": "en"}
    assert result["stats"]["documents"] == 10
    assert "No document matches." in shell("search", "i.serotine", "bat", "--where", '{"lang": "fr"}')
    for where, expected in (
        ("year", "must be a JSON object, got 'year'"),
        ("[1]", "must be a JSON object"),
        ('{"year": {"~": 1}}', "--where['year']['~']: unknown operator"),
        ('{"year": "x"}', "--where['year']: must be int, as 'year' is declared, got str"),
        ("{}", "--where: must not be empty"),
        ('{"year": NaN}', "must be finite"),
        ('{"lang": "en", "lang": "fr"}', "duplicate key 'lang'"),
        ('{"not": ' * 20_000, "nested too deeply"),
    ):
        assert expected in shell.fails("search", "i.serotine", "bat", "--where", where, status=2)


def test_modes(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("index", corpus(tmp_path), "-o", "i.serotine")
    hybrid = shell.json("search", "i.serotine", "word3 bat", "--mode", "hybrid")
    assert hybrid["stats"]["plan"].endswith("+ bm25")
    assert hybrid["mode"] == "hybrid"
    assert (
        "60 by their words in "
        in shell("search", "i.serotine", "word3 bat", "--mode", "hybrid", "--verbose").splitlines()[-1]
    )
    message = shell.fails("search", "i.serotine", "bat", "--mode", "bm25", "--exact", status=2)
    assert "--exact: needs --mode late or pooled, got --mode" in message
    # BM25 needs no encoder, and an invalid filter is reported before one is loaded.
    monkeypatch.setattr("serotine.encoders.Encoder", None)
    output = shell("search", "i.serotine", "word3", "--mode", "bm25", "-k", "2", "--verbose")
    assert "word3" in output
    assert "2 documents by their words in " in output
    assert "encoded" not in output
    shell.fails("search", "i.serotine", "bat", "--where", "{}", status=2)
    assert shell.json("search", "i.serotine", "nowhere", "--mode", "bm25")["hits"] == []


def test_search_reports_its_stages(shell: Shell, tmp_path: Path) -> None:
    shell("index", corpus(tmp_path), "-o", "i.serotine")
    shell("compact", "i.serotine")
    summary = shell("search", "i.serotine", "bat 3", "--verbose").splitlines()[-1]
    assert "60 documents by their codes, 15 by their vectors in " in summary
    assert "Exact: " in shell("search", "i.serotine", "bat 3", "--exact").splitlines()[-1]
    where = ("--where", '{"year": {"<": 2005}}')
    summary = shell("search", "i.serotine", "bat 3", *where, "--verbose").splitlines()[-1]
    assert summary.startswith("5 documents pass the filter: 5 by their ")
    best = r"; the best of them scores [01]\.\d{3} per query token"
    last = shell("search", "i.serotine", "bat 3").splitlines()[-1]
    assert re.fullmatch(rf"10 of 60 documents in [\d.]+ ms{best}", last)
    words = shell("search", "i.serotine", "bat 3", "--mode", "bm25").splitlines()[-1]
    assert re.fullmatch(r"10 of \d+ documents in [\d.]+ ms", words)
    summary = shell("search", "i.serotine", "bat 3", *where).splitlines()[-1]
    assert re.fullmatch(rf"5 of 5 documents that pass the filter in [\d.]+ ms{best}", summary)
    summary = shell("search", "i.serotine", "bat 3", "--where", '{"year": 2001}').splitlines()[-1]
    assert re.fullmatch(rf"1 of 1 document that passes the filter in [\d.]+ ms{best}", summary)


@pytest.mark.parametrize(
    ("plan", "counts", "summary"),
    [
        ("flat", {"vectors": 99}, "All 99 documents by their vectors in 3.4 ms;"),
        (
            "scan",
            {"centroids": 20_000, "codes": 274, "vectors": 27},
            "20,000 documents by their centroids, 274 by their codes, 27 by their vectors in 3.4 ms;",
        ),
        (
            "probe + flat",
            {"centroids": 900, "codes": 274, "vectors": 27},
            "900 documents by their centroids (on the posting lists nearest the query), 274 by their codes, 27 by",
        ),
        ("direct", {"codes": 50, "vectors": 27}, "50 documents by their codes, 27 by their vectors in 3.4 ms;"),
        ("bounds", {"codes": 2000, "vectors": 12}, "2,000 documents by their codes, 12 by their vectors in 3.4 ms;"),
        ("flat + bm25", {"vectors": 9, "bm25": 1}, "9 documents by their vectors, 1 by its words in 3.4 ms;"),
        ("bm25", {"bm25": 2}, "2 documents by their words in 3.4 ms"),
        ("bm25", {}, "No document scored in 3.4 ms"),
    ],
)
def test_the_summary_of_every_plan(plan: str, counts: dict[str, int], summary: str) -> None:
    stats = SearchStats(plan, 99, 0, counts, {"search": 3.4, "encode": 5.0})
    assert _stages(stats, filtered=False).startswith(summary)
    assert ("encoded in 5 ms" in _stages(stats, filtered=False)) == (plan != "bm25")


def test_indexing_trains_one_codebook(shell: Shell, tmp_path: Path) -> None:
    shell("index", corpus(tmp_path, 1000), "-o", "i.serotine")
    stats = shell.json("info", "i.serotine")
    assert stats["codebooks"] == 1
    assert stats["coded_tokens"] > 0
    assert "Codebooks 1, of " in shell("info", "i.serotine")


def test_progress_is_drawn_on_a_terminal(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    shell("index", corpus(tmp_path), "-o", "i.serotine")
    assert "Reading" in shell.err
    assert "Encoding" in shell.err
    assert re.search(r"(\d+)/\1 bytes", shell.err)
    shell("delete", "i.serotine", "d1", "--yes")
    shell("compact", "i.serotine")
    assert "Merging segments" in shell.err


def test_failed_maintenance_is_a_one_line_warning(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serotine.index.growth.maintenance.Maintenance.run", disk_full)
    shell("index", corpus(tmp_path), "-o", "i.serotine")
    assert shell.err.startswith("warning: ")
    assert "could not be compressed (No space left on device)" in shell.err
    assert shell.err.count("\n") == 1
    assert shell.json("info", "i.serotine")["documents"] == 60


def test_help_lists_the_commands_in_order_of_use(shell: Shell) -> None:
    commands = [line.split()[0] for line in shell("--help").partition("Commands:")[2].splitlines() if line.strip()]
    assert commands == [
        "index",
        "search",
        "add",
        "delete",
        "compact",
        "tune",
        "info",
        "verify",
        "snapshot",
        "restore",
        "snapshots",
        "cluster",
        "plan",
        "serve",
        "mcp",
        "export",
        "eval",
        "compare",
        "model",
        "train",
        "bench",
    ]


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
        assert "another process is writing" in shell.fails("compact", "i.serotine")
