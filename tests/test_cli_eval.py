"""`serotine eval`: the table, the files, what is refused, and what a kill or Ctrl-C leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.cli_fake import FakeEncoder
from helpers.eval_cases import write_beir, write_miracl

import serotine.encoders
from serotine.cli import main
from serotine.evaluation import Result
from serotine.index import Index

FAKE = [sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py")]
DOCUMENTS = {"d1": "the bat flies at night", "d2": "wings flutter in the wind", "d3": "roots of a tree"}
QUERIES = {"q1": "bat night", "q2": "wind"}
QRELS = {"test": {"q1": {"d1": 1}, "q2": {"d2": 1}}}


@pytest.fixture(autouse=True)
def fake_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serotine.encoders, "Encoder", FakeEncoder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_beir(tmp_path / "mine", DOCUMENTS, QUERIES, QRELS)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    streams = capsys.readouterr()
    return status, streams.out, streams.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status, out, err = call(capsys, *arguments, "--json", "-")
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_one_table_of_one_collection(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, "eval", "--model", "default", "--bm25", folder)
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["mine"],
        ["nDCG@10", "R@100"],
        ["fake", "100.00", "100.00"],
        ["bm25", "100.00", "100.00"],
    ]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mine"]


def test_the_files_say_what_the_table_says(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    result = as_json(
        capsys,
        "eval",
        "--model",
        "default",
        "--bm25",
        "-o",
        output,
        "--metrics",
        "RR,P@5 nDCG@3",
        "--depth",
        5,
        folder,
    )
    assert [(one["system"], one["metrics"]["RR"]) for one in result["results"]] == [("fake", 1.0), ("bm25", 1.0)]
    kept = Result.load(output / "fake" / "mine.json")
    assert list(kept.metrics) == ["RR", "P@5", "nDCG@3"]
    assert {name: kept.record[name] for name in ("depth", "exact", "dtype")} == {
        "depth": 5,
        "exact": True,
        "dtype": "float16",
    }
    assert (output / "bm25" / "mine.trec").read_text().split()[:4] == ["q1", "Q0", "d1", "1"]
    assert len(list((output / "encodings").iterdir())) == 1
    as_json(capsys, "eval", "--model", "default", "-o", tmp_path / "bare", "--no-cache", folder)
    assert [path.name for path in (tmp_path / "bare").iterdir()] == ["fake"]


def test_a_suite_has_a_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "suite"
    write_beir(root / "good", DOCUMENTS, QUERIES, QRELS)
    write_beir(root / "bad", DOCUMENTS, {"q": "wind"}, {"test": {"q": {"d3": 1}}})
    write_miracl(root, "sw", {"1#0": ("Popo", "usiku")}, {"1": "popo"}, "1 Q0 1#0 1\n")
    (root / "notes").mkdir()
    result = as_json(capsys, "eval", "--bm25", "--suite", root, "-o", tmp_path / "out")
    figures = {row["name"]: row["figures"][0]["value"] for row in result["rows"]}
    assert figures == {"bad": 0.0, "good": 1.0, "miracl-sw": 1.0, "mean": pytest.approx(2 / 3)}
    status, out, err = call(capsys, "eval", "--bm25", "--suite", root, "-o", tmp_path / "out")
    assert status == 0
    assert "warning: " in err
    assert "skipped notes" in err
    assert out.split("R@100")[0].split() == [
        *("nDCG@10", "bm25", "bad", "0.00", "good", "100.00", "miracl-sw", "100.00", "mean", "of", "3", "66.67")
    ]


def test_an_index(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "i.serotine"
    with Index.create(path, encoder=FakeEncoder()) as index:
        index.add(ids=list(DOCUMENTS), texts=list(DOCUMENTS.values()))
    for options in ([], ["--exact"]):
        result = as_json(capsys, "eval", "--index", path, *options, folder)
        (one,) = result["results"]
        assert (one["system"], one["metrics"]["nDCG@10"]) == (str(path), 1.0)
        assert one["record"]["kind"] == "index"
    (one,) = as_json(capsys, "eval", "--index", path, "--mode", "xtr", "--k-token", 100, folder)["results"]
    assert (one["system"], one["metrics"]["nDCG@10"]) == (f"{path} (xtr)", 1.0)
    assert one["record"]["retrieval"] == "the index's search, approximate: xtr"
    status, _, err = call(capsys, "eval", "--index", path, folder, "--dim", 8, "--pool-factor", 2)
    assert (status, "--dim, --pool-factor: an index has its encoder's settings" in err) == (2, True)
    status, _, err = call(capsys, "eval", "--index", path, folder, "--query-length", 8)
    assert (status, "--query-length: fake has no such setting" in err) == (2, True)
    with Index.open(path, encoder=FakeEncoder()) as index:
        index.delete(ids=["d2"])
    status, _, err = call(capsys, "eval", "--index", path, folder)
    assert status == 0
    assert "the index lacks 1 of the collection's 3 documents" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bm25"], "no collection; pass a FOLDER, or a --suite"),
        (["mine"], "nothing to evaluate; pass --model NAME"),
        (["--exact", "--bm25", "mine"], "--exact: requires --index"),
        (["--mode", "xtr", "--bm25", "mine"], "--mode: requires --index"),
        (["--index", "i", "--mode", "bm25", "mine"], "'bm25' is not one of 'late', 'xtr'"),
        (["--index", "i", "--mode", "xtr", "--exact", "mine"], "--exact: needs --mode late, got --mode xtr"),
        (["--index", "i", "--k-token", "200", "mine"], "--k-token: needs --mode xtr; add it, or drop --k-token"),
        (
            ["--index", "i", "--mode", "xtr", "--k-token", "99", "mine"],
            "--k-token: must be at least --depth (100), got",
        ),
        (["--index", "i", "--mode", "xtr", "--k-token", "x", "mine"], "'--k-token': 'x' is not an integer; see"),
        (["--index", "i", "mine", "mine"], "--index: an index contains one collection"),
        (["--index", "i", "--suite", "beir15"], "--index: an index contains one collection"),
        (["--bm25", "--metrics", "nDGC@10", "mine"], "--metrics: "),
        (["--bm25", "--metrics", ",", "mine"], "must name a metric"),
        (["--bm25", "--depth", "5", "mine"], "--metrics: nDCG@10 needs 10 documents, got depth 5"),
        (["--bm25", "--identical-ids", "maybe", "mine"], "'maybe' is not one of"),
    ],
)
def test_bad_use(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(folder.parent)
    status, out, err = call(capsys, "eval", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_failures_name_file_and_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    qrels = folder / "qrels" / "test.tsv"
    corpus = folder / "corpus.jsonl"
    for file, contents, words in (
        (
            qrels,
            "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\n",
            f"error: {qrels}:3: must be query-id, corpus-id",
        ),
        (corpus, '{"_id": "d1", "text": "x"}\n{"_id": \n', f"error: {corpus}:2: not valid JSON"),
    ):
        before = file.read_text()
        file.write_text(contents)
        status, out, err = call(capsys, "eval", "--bm25", folder)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(words)
        file.write_text(before)
    for name, words in ((tmp_path / "none", "no such folder"), (tmp_path, "--suite")):
        status, _, err = call(capsys, "eval", "--bm25", name)
        assert (status, words in err) == (1, True)


def start(arguments: list[object], log: Path, delay: str = "0.002") -> subprocess.Popen[str]:
    environment = {**os.environ, "FAKE_DELAY": delay, "FAKE_LOG": str(log)}
    command = [*FAKE, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def encoded(log: Path) -> int:
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def wait_for(log: Path, documents: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while encoded(log) < documents:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Three collections, the second of two blocks."""
    root = tmp_path / "suite"
    for name, size in (("a", 300), ("b", 1500), ("c", 200)):
        documents = {f"{name}{i}": f"{name} word{i} word{i % 7}" for i in range(size)}
        queries = {f"q{i}": f"word{i}" for i in range(20)}
        write_beir(root / name, documents, queries, {"test": {f"q{i}": {f"{name}{i}": 1} for i in range(20)}})
    return root


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_killed_suite_goes_on_without_doing_anything_twice(suite: Path, tmp_path: Path) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    command: list[object] = ["eval", "--model", "default", "--bm25", "--suite", suite, "-o", output]
    process = start([*command, "--json", tmp_path / "whole.json"], log)
    # All of the first collection, the first block of the second.
    wait_for(log, 1324, process)
    deadline = time.monotonic() + 30
    while len(list((output / "encodings").glob("*.safetensors"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    before_kill = encoded(log)
    assert 1324 <= before_kill < 1800
    done = output / "fake" / "a.json"
    before = (done.stat().st_mtime_ns, done.read_bytes())
    assert not (output / "fake" / "b.json").exists()

    process = start([*command, "--json", tmp_path / "whole.json"], log, "0")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    # What was encoded before the kill was not encoded again, but for the block it broke off.
    assert encoded(log) - before_kill == 476 + 200
    assert (done.stat().st_mtime_ns, done.read_bytes()) == before
    assert "mean of 3" in out
    assert not list(output.rglob("*.tmp"))

    # And the numbers are those of a run that nothing disturbed.
    process = start(
        [
            "eval",
            "--model",
            "default",
            "--bm25",
            "--suite",
            suite,
            "-o",
            tmp_path / "other",
            "--json",
            tmp_path / "other.json",
        ],
        tmp_path / "log2",
        "0",
    )
    process.communicate(timeout=60)
    whole, other = (json.loads((tmp_path / name).read_text()) for name in ("whole.json", "other.json"))
    assert whole["rows"] == other["rows"]

    # A third time nothing is left to do.
    process = start(command, log, "0")
    process.communicate(timeout=60)
    assert encoded(log) - before_kill == 476 + 200


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_control_c_says_what_is_kept(suite: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command: list[object] = ["eval", "--model", "default", "--suite", suite, "-o", tmp_path / "out"]
    process = start(command, log)
    wait_for(log, 300, process)
    deadline = time.monotonic() + 30
    while not (tmp_path / "out" / "fake" / "a.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    # The file appears before it is fsynced, and counts afterwards.
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == (
        f"error: interrupted; 1 of 3 results stored in {tmp_path / 'out'}; run the same command again to continue"
    )


def test_a_language_without_a_stemmer_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = call(capsys, "eval", "--bm25", "--language", "yo", folder)
    assert err.startswith("warning: --language yo: no stemmer for Yoruba; words match as they are written, in any case")
    _, _, err = call(capsys, "eval", "--bm25", "--language", "de", folder)
    assert "stemmer" not in err
