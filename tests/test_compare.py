"""Comparisons: means, wins, significance, what changed most, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from helpers.fakes import WordEncoder
from helpers.reports import AFTER, BEFORE, collection, judged

from serotine.cli import main
from serotine.errors import InputFileError
from serotine.evaluation import Result, compare, load_results


def test_means_wins_and_losses() -> None:
    found = compare([judged("old", BEFORE), judged("new", AFTER)])
    (pair,) = found.pairs
    assert (found.systems, found.collections, pair.system, pair.baseline) == (("old", "new"), ("made",), "new", "old")
    # q1, q3 and q4 rise, q2 falls, q5 stays.
    assert (pair.wins, pair.ties, pair.losses) == (3, 1, 1)
    assert pair.difference == pytest.approx(found.means["new"]["made"] - found.means["old"]["made"])
    assert found.averages == {system: means["made"] for system, means in found.means.items()}
    assert pair.exact
    assert pair.p_corrected == pair.p
    assert [change.query for change in found.changes] == ["q3", "q2", "q1", "q4"]
    assert found.changes[0].difference == 1.0
    assert found.changes[0].text is None


def test_another_metric() -> None:
    found = compare([judged("old", BEFORE), judged("new", AFTER)], metric="RR@10")
    assert found.means["old"]["made"] == pytest.approx((0.5 + 1 + 0 + 0.5 + 1) / 5)
    with pytest.raises(ValueError, match=r"metric: 'old' has no P@3 on made; it has nDCG@10, RR@10"):
        compare([judged("old", BEFORE), judged("new", AFTER)], metric="P@3")


def test_correction_is_over_systems_and_collections() -> None:
    names = ("a", "b", "c")
    others = {name: collection(name) for name in names}
    olds = [judged("old", BEFORE, others[name]) for name in names]
    news = [judged("new", AFTER, others[name]) for name in names]
    same = [judged("same", BEFORE, others[name]) for name in names]
    found = compare([*olds, *news, *same])
    assert [(pair.system, pair.collection) for pair in found.pairs] == [
        (system, name) for system in ("new", "same") for name in names
    ]
    assert all(pair.p_corrected == min(6 * pair.p, 1.0) for pair in found.pairs if pair.system == "new")
    assert all(pair.p == 1.0 and pair.wins == pair.losses == 0 for pair in found.pairs if pair.system == "same")


def test_documents_behind_a_change() -> None:
    found = compare([judged("old", BEFORE), judged("new", AFTER)], collections=[collection()], changed=2)
    assert [change.query for change in found.changes] == ["q3", "q2"]
    fell = found.changes[1]
    assert fell.text == "what hunts mice?"
    told = [(shown.id, shown.grade, shown.baseline_rank, shown.system_rank) for shown in fell.documents]
    assert told == [("d1", None, 2, 1), ("d2", 1, 1, 3), ("d5", None, None, 2)]
    assert fell.documents[1].text == "Owls hunt mice at night."
    assert fell.documents[1].alignment is None
    assert found.explained_by is None


def test_ranks_follow_trec_evals_ties() -> None:
    tied = {**BEFORE, "q2": {"d1": 1.0, "d2": 1.0}}
    found = compare([judged("old", BEFORE), judged("new", {**tied, "q2": {"d2": 1.0, "d3": 1.0}})])
    (change,) = found.changes
    ranks = {shown.id: shown.system_rank for shown in change.documents}
    assert ranks["d3"] == 1
    assert ranks["d2"] == 2


def test_matched_tokens_add_up_to_the_score() -> None:
    found = compare([judged("old", BEFORE), judged("new", AFTER)], collections=[collection()], encoder=WordEncoder(32))
    assert found.explained_by == "words"
    (fell,) = [change for change in found.changes if change.query == "q2"]
    (owls,) = [shown for shown in fell.documents if shown.id == "d2"]
    table = owls.alignment
    assert table is not None
    assert table.query_tokens == ("[Q]", "what", "hunts", "mice")
    picked = [row[place] for row, place in zip(table.similarities, table.chosen, strict=True)]
    assert sum(picked) == pytest.approx(table.score, abs=1e-3)
    assert [max(row) for row in table.similarities] == picked
    assert table.tokens[table.chosen[3]] == "mice"
    strongest = max(table.shares, key=lambda span: span[2])
    assert (owls.text or "")[strongest[0] : strongest[1]] == "mice"
    assert 0 <= table.unplaced <= 1


def test_folders(tmp_path: Path) -> None:
    for name, run in (("one", BEFORE), ("two", AFTER)):
        judged("same model", run, depth=100 if name == "one" else 50).save(tmp_path / name)
    (tmp_path / "one" / "summary.json").write_text("{}")
    assert [result.collection for result in load_results(tmp_path / "one")] == ["made"]
    found = compare([tmp_path / "one", str(tmp_path / "two")])
    # The system is the same: the folders tell them apart.
    assert found.systems == (str(tmp_path / "one"), str(tmp_path / "two"))
    assert found.records[found.systems[1]]["made"]["depth"] == 50
    assert compare([tmp_path / "one", judged("other", AFTER)]).systems == ("same model", "other")


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    old, new = judged("old", BEFORE), judged("new", AFTER)
    other = dataclasses.replace(new, per_query={**new.per_query, "q9": dict.fromkeys(new.metrics, 0.0)})
    for systems, words in (
        ([old], "systems: must be at least two, got 'old'"),
        ([old, old], "'old' has two results on 'made'"),
        ([old, judged("new", AFTER, collection("else"))], r"no collection in common \(old: made; new: else\)"),
        ([old, dataclasses.replace(new, split="dev")], "'old' was judged on split 'test', 'new' on 'dev'"),
        ([old, other], r"judged on different queries \(1 of them, such as 'q9'\)"),
    ):
        with pytest.raises(ValueError, match=words):
            compare(systems)
    with pytest.raises(ValueError, match=r"collections: 'else' was not judged; the results are of made"):
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
    extra = judged("old", BEFORE, collection("extra"))
    found = compare([judged("old", BEFORE), extra, judged("new", AFTER)])
    assert (found.collections, found.excluded) == (("made",), ("extra",))


def saved(tmp_path: Path) -> list[str]:
    for name, run in (("old", BEFORE), ("new", AFTER)):
        judged(name, run).save(tmp_path / name)
    return [str(tmp_path / "old"), str(tmp_path / "new")]


def beir(folder: Path) -> Path:
    made = collection(folder.name)
    (folder / "qrels").mkdir(parents=True)
    for file, texts in (("corpus", made.documents), ("queries", made.queries)):
        lines = [json.dumps({"_id": id_, "text": text}) for id_, text in texts.items()]
        (folder / f"{file}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    lines = [f"{query}\t{id_}\t{grade}" for query, own in made.qrels.items() for id_, grade in own.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    return folder


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folders = saved(tmp_path)
    monkeypatch.setattr("serotine.encoders.Encoder", lambda name: WordEncoder(32))
    options = ["--collection", str(beir(tmp_path / "made")), "--model", "default"]
    outputs = ["--json", str(tmp_path / "c.json"), "--report", str(tmp_path / "r.html")]
    assert main(["compare", *folders, *options, *outputs]) == 0
    shown = capsys.readouterr().out
    assert "Mean nDCG@10" in shown
    assert "when do bats hunt?" in shown
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["pairs"][0]["wins"] == 3
    assert result["changes"][0]["documents"][0]["alignment"]["score"]
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_a_collection_without_the_usual_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = beir(tmp_path / "made")
    rows = (folder / "qrels/test.tsv").read_text()
    (folder / "qrels/test.tsv").unlink()
    for split in ("train", "dev"):
        (folder / f"qrels/{split}.tsv").write_text(rows)
    for name, run in (("old", BEFORE), ("new", AFTER)):
        dataclasses.replace(judged(name, run), split="dev").save(tmp_path / name)
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
        (["--model", "default"], "--model: needs --collection"),
        (["--bench", "x.json"], "--bench: is drawn in a report only"),
        (["--metric", "P@3"], "has no P@3"),
        (["--report", "nowhere/r.html"], "does not exist; create it first"),
        (["--bench", "x.json", "--report", "r.html"], "x.json: no such file"),
    ],
)
def test_bad_use(options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *saved(tmp_path), *options]) == 2
    assert words in capsys.readouterr().err


def test_one_folder_is_bad_use_and_no_results_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = saved(tmp_path)
    assert main(["compare", folders[0]]) == 2
    assert "name two folders or more" in capsys.readouterr().err
    assert main(["compare", folders[0], str(tmp_path)]) == 1
    assert "no results" in capsys.readouterr().err
    assert main(["compare", *folders, "--collection", str(beir(tmp_path / "unjudged"))]) == 2
    assert "'unjudged' was not evaluated" in capsys.readouterr().err


def test_a_result_is_read_as_it_was_saved(tmp_path: Path) -> None:
    one = judged("old", BEFORE)
    one.save(tmp_path)
    assert Result.load(tmp_path / "made.json") == one
