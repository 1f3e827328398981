"""Comparisons: means, wins, significance, the largest changes, and results that are not comparable."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from helpers.fakes import WordEncoder
from helpers.reports import AFTER, BEFORE, collection, evaluated

from serotine.cli import main
from serotine.errors import InputFileError
from serotine.evaluation import Result, compare, load_results


def test_means_wins_and_losses() -> None:
    comparison = compare([evaluated("old", BEFORE), evaluated("new", AFTER)])
    (pair,) = comparison.pairs
    assert (comparison.systems, comparison.collections, pair.system, pair.baseline) == (
        ("old", "new"),
        ("toy",),
        "new",
        "old",
    )
    # q1, q3 and q4 improve, q2 gets worse, q5 does not change.
    assert (pair.wins, pair.ties, pair.losses) == (3, 1, 1)
    assert pair.difference == pytest.approx(comparison.means["new"]["toy"] - comparison.means["old"]["toy"])
    assert comparison.averages == {system: means["toy"] for system, means in comparison.means.items()}
    assert pair.exact
    assert pair.p_corrected == pair.p
    assert [change.query for change in comparison.changes] == ["q3", "q2", "q1", "q4"]
    assert comparison.changes[0].difference == 1.0
    assert comparison.changes[0].text is None


def test_another_metric() -> None:
    comparison = compare([evaluated("old", BEFORE), evaluated("new", AFTER)], metric="RR@10")
    assert comparison.means["old"]["toy"] == pytest.approx((0.5 + 1 + 0 + 0.5 + 1) / 5)
    with pytest.raises(ValueError, match=r"metric: 'old' has no P@3 on toy; it has nDCG@10, RR@10"):
        compare([evaluated("old", BEFORE), evaluated("new", AFTER)], metric="P@3")


def test_correction_is_over_systems_and_collections() -> None:
    names = ("a", "b", "c")
    collections = [collection(name) for name in names]
    old = [evaluated("old", BEFORE, toy) for toy in collections]
    new = [evaluated("new", AFTER, toy) for toy in collections]
    same = [evaluated("same", BEFORE, toy) for toy in collections]
    comparison = compare([*old, *new, *same])
    assert [(pair.system, pair.collection) for pair in comparison.pairs] == [
        (system, name) for system in ("new", "same") for name in names
    ]
    assert all(pair.p_corrected == min(6 * pair.p, 1.0) for pair in comparison.pairs if pair.system == "new")
    assert all(pair.p == 1.0 and pair.wins == pair.losses == 0 for pair in comparison.pairs if pair.system == "same")


def test_documents_behind_a_change() -> None:
    comparison = compare([evaluated("old", BEFORE), evaluated("new", AFTER)], collections=[collection()], changed=2)
    assert [change.query for change in comparison.changes] == ["q3", "q2"]
    worse = comparison.changes[1]
    assert worse.text == "what hunts mice?"
    ranks = [(hit.id, hit.grade, hit.baseline_rank, hit.system_rank) for hit in worse.documents]
    assert ranks == [("d1", None, 2, 1), ("d2", 1, 1, 3), ("d5", None, None, 2)]
    assert worse.documents[1].text == "Owls hunt mice at night."
    assert worse.documents[1].alignment is None
    assert comparison.explained_by is None


def test_ranks_follow_trec_evals_ties() -> None:
    tied = {**BEFORE, "q2": {"d1": 1.0, "d2": 1.0}}
    comparison = compare([evaluated("old", BEFORE), evaluated("new", {**tied, "q2": {"d2": 1.0, "d3": 1.0}})])
    (change,) = comparison.changes
    ranks = {document.id: document.system_rank for document in change.documents}
    assert ranks["d3"] == 1
    assert ranks["d2"] == 2


def test_matched_tokens_add_up_to_the_score() -> None:
    comparison = compare(
        [evaluated("old", BEFORE), evaluated("new", AFTER)], collections=[collection()], encoder=WordEncoder(32)
    )
    assert comparison.explained_by == "words"
    (worse,) = [change for change in comparison.changes if change.query == "q2"]
    (owls,) = [document for document in worse.documents if document.id == "d2"]
    alignment = owls.alignment
    assert alignment is not None
    assert alignment.query_tokens == ("[Q]", "what", "hunts", "mice")
    chosen = [row[column] for row, column in zip(alignment.similarities, alignment.chosen, strict=True)]
    assert sum(chosen) == pytest.approx(alignment.score, abs=1e-3)
    assert [max(row) for row in alignment.similarities] == chosen
    assert alignment.tokens[alignment.chosen[3]] == "mice"
    strongest = max(alignment.shares, key=lambda span: span[2])
    assert (owls.text or "")[strongest[0] : strongest[1]] == "mice"
    assert 0 <= alignment.unplaced <= 1


def test_folders(tmp_path: Path) -> None:
    for name, run in (("one", BEFORE), ("two", AFTER)):
        evaluated("same model", run, depth=100 if name == "one" else 50).save(tmp_path / name)
    (tmp_path / "one" / "summary.json").write_text("{}")
    assert [result.collection for result in load_results(tmp_path / "one")] == ["toy"]
    comparison = compare([tmp_path / "one", str(tmp_path / "two")])
    # Two folders of the same system are named by their paths.
    assert comparison.systems == (str(tmp_path / "one"), str(tmp_path / "two"))
    assert comparison.records[comparison.systems[1]]["toy"]["depth"] == 50
    assert compare([tmp_path / "one", evaluated("other", AFTER)]).systems == ("same model", "other")


def test_results_that_are_not_comparable(tmp_path: Path) -> None:
    old, new = evaluated("old", BEFORE), evaluated("new", AFTER)
    other = dataclasses.replace(new, per_query={**new.per_query, "q9": dict.fromkeys(new.metrics, 0.0)})
    for systems, words in (
        ([old], "systems: must be at least two, got 'old'"),
        ([old, old], "'old' has two results on 'toy'"),
        ([old, evaluated("new", AFTER, collection("else"))], r"no collection in common \(old: toy; new: else\)"),
        ([old, dataclasses.replace(new, split="dev")], "'old' was evaluated on split 'test', 'new' on 'dev'"),
        ([old, other], r"evaluated on different queries \(1 of them, such as 'q9'\)"),
    ):
        with pytest.raises(ValueError, match=words):
            compare(systems)
    with pytest.raises(ValueError, match=r"collections: 'else' was not evaluated; the results are of toy"):
        compare([old, new], collections=[collection("else")])
    with pytest.raises(ValueError, match="encoder: requires collections"):
        compare([old, new], encoder=WordEncoder())
    with pytest.raises(ValueError, match="changed: must be at least 0, got -1"):
        compare([old, new], changed=-1)
    with pytest.raises(InputFileError, match="no such folder"):
        compare([tmp_path / "nothing", new])
    with pytest.raises(InputFileError, match="no results"):
        load_results(tmp_path)


def test_collections_not_everyone_was_judged_on_are_told() -> None:
    extra = evaluated("old", BEFORE, collection("extra"))
    comparison = compare([evaluated("old", BEFORE), extra, evaluated("new", AFTER)])
    assert (comparison.collections, comparison.excluded) == (("toy",), ("extra",))


def saved(tmp_path: Path) -> list[str]:
    for name, run in (("old", BEFORE), ("new", AFTER)):
        evaluated(name, run).save(tmp_path / name)
    return [str(tmp_path / "old"), str(tmp_path / "new")]


def beir(folder: Path) -> Path:
    toy = collection(folder.name)
    (folder / "qrels").mkdir(parents=True)
    for file, texts in (("corpus", toy.documents), ("queries", toy.queries)):
        lines = [json.dumps({"_id": id_, "text": text}) for id_, text in texts.items()]
        (folder / f"{file}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    lines = [f"{query}\t{id_}\t{grade}" for query, grades in toy.qrels.items() for id_, grade in grades.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    return folder


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folders = saved(tmp_path)
    monkeypatch.setattr("serotine.encoders.Encoder", lambda name: WordEncoder(32))
    options = ["--collection", str(beir(tmp_path / "toy")), "--model", "default"]
    outputs = ["--json", str(tmp_path / "c.json"), "--report", str(tmp_path / "r.html")]
    assert main(["compare", *folders, *options, *outputs]) == 0
    shown = capsys.readouterr().out
    assert "Mean nDCG@10" in shown
    assert "when do bats hunt?" in shown
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["pairs"][0]["wins"] == 3
    assert result["changes"][0]["documents"][0]["alignment"]["score"]
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_a_collection_without_the_default_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = beir(tmp_path / "toy")
    rows = (folder / "qrels/test.tsv").read_text()
    (folder / "qrels/test.tsv").unlink()
    for split in ("train", "dev"):
        (folder / f"qrels/{split}.tsv").write_text(rows)
    for name, run in (("old", BEFORE), ("new", AFTER)):
        dataclasses.replace(evaluated(name, run), split="dev").save(tmp_path / name)
    command = ["compare", str(tmp_path / "old"), str(tmp_path / "new"), "--collection", str(folder)]
    assert main(command) == 0, capsys.readouterr().err
    assert "when do bats hunt?" in capsys.readouterr().out


def test_json_alone_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *saved(tmp_path), "--json", "-"]) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["systems"] == ["old", "new"]
    assert "wins" in written.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "default"], "--model: requires --collection"),
        (["--bench", "x.json"], "--bench: requires --report FILE"),
        (["--metric", "P@3"], "has no P@3"),
        (["--report", "nowhere/r.html"], "does not exist; create it first"),
        (["--bench", "x.json", "--report", "r.html"], "x.json: no such file"),
    ],
)
def test_usage_errors(options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *saved(tmp_path), *options]) == 2
    assert words in capsys.readouterr().err


def test_one_folder_is_a_usage_error_no_results_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = saved(tmp_path)
    assert main(["compare", folders[0]]) == 2
    assert "RESULTS: must be at least two folders" in capsys.readouterr().err
    assert main(["compare", folders[0], str(tmp_path)]) == 1
    assert "no results" in capsys.readouterr().err
    assert main(["compare", *folders, "--collection", str(beir(tmp_path / "other"))]) == 2
    assert "'other' was not evaluated" in capsys.readouterr().err


def test_a_loaded_result_equals_the_saved_one(tmp_path: Path) -> None:
    result = evaluated("old", BEFORE)
    result.save(tmp_path)
    assert Result.load(tmp_path / "toy.json") == result
