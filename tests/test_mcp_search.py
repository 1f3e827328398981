"""The tool `search` pages, leaves out what does not fit, and groups passages, over one index and over several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.cli_fake import FakeEncoder
from helpers.fakes import ShortEncoder
from helpers.small_engine import THRESHOLDS

from serotine import Index

pytest.importorskip("mcp", reason="needs the mcp extra (pip install 'serotine[mcp]')")

from serotine.serving.mcp.indexes import ServedIndexes
from serotine.serving.mcp.listing import list_indexes
from serotine.serving.mcp.schemas import ListArguments, SearchArguments
from serotine.serving.mcp.search import search
from serotine.serving.mcp.token_count import count_tokens

QUERY = "late bats at night"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two indexes: one of a file in passages, one of separate notes."""
    with Index.create(tmp_path / "file", encoder=FakeEncoder()) as index:
        index.add(
            [f"bats.md#{n}" for n in range(6)],
            texts=[f"bats are late at night, page {n}" for n in range(6)],
            metadata=[{"source": "bats.md", "start": n, "end": n + 1} for n in range(6)],
        )
    with Index.create(tmp_path / "notes", encoder=FakeEncoder()) as index:
        index.add(["n1", "n2", "n3"], texts=["late bats", "night", "an owl"])
    return [tmp_path / "file", tmp_path / "notes"]


@pytest.fixture
def served(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("serotine.encoders.Encoder", FakeEncoder)
    served = ServedIndexes(paths)
    yield served
    served.close()


def run(served: ServedIndexes, **arguments: Any) -> tuple[Any, str]:
    return search(served, SearchArguments(query=QUERY, **arguments))


@pytest.mark.parametrize("index", [None, "file", "notes"])
def test_pages_follow_each_other(served: ServedIndexes, index: str | None) -> None:
    whole, _ = run(served, k=6, index=index)
    pages = [run(served, k=2, offset=offset, index=index) for offset in (0, 2, 4)]
    assert [hit for page, _ in pages for hit in page.hits] == whole.hits
    if len(whole.hits) > 2:
        assert f"\n\n3. {whole.hits[2].id}" in pages[1][1]
    result, _ = run(served, k=2, offset=50, index=index)
    assert (result.hits, result.note) == ([], "No passage after the first 50; lower offset.")


def test_passages_below_the_lowest_score_are_counted(served: ServedIndexes) -> None:
    whole, _ = run(served, index="notes")
    best = whole.hits[0].score_per_token
    result, _ = run(served, index="notes", min_score=best - 0.001)
    assert [hit.id for hit in result.hits] == ["n1"]
    assert result.note == "1 passage, best first, 2 more below min_score."
    nothing, text = run(served, index="notes", min_score=1.5)
    assert nothing.hits == []
    assert text == "No passage reaches min_score 1.5; 3 passages below it."
    _, text = run(served, index="notes", min_score=best - 0.001, offset=1)
    assert text.startswith("No passage after the first 1 reaches min_score ")
    assert text.endswith("; lower offset.")
    with pytest.raises(ValueError, match='min_score: needs mode="late" or "hybrid"'):
        run(served, mode="bm25", min_score=0.5)


def test_a_lowest_score_that_no_passage_can_have_is_an_error(tmp_path: Path) -> None:
    with Index.create(tmp_path / "mini", encoder="mini") as index:
        index.add(["bat"], ["Bats fly at night."])
    served = ServedIndexes([tmp_path / "mini"])
    try:
        with pytest.raises(ValueError, match="min_score: must be between 0 and 1, got 7"):
            run(served, min_score=7)
    finally:
        served.close()


def test_a_file_is_one_hit_when_grouped(served: ServedIndexes) -> None:
    result, text = run(served, group_by="document")
    assert sorted(hit.id.partition("#")[0] for hit in result.hits) == ["bats.md", "n1", "n2", "n3"]
    (file,) = [hit for hit in result.hits if hit.id.startswith("bats.md")]
    assert file.other_passages == 5
    assert "and 5 more of its document" in text


def test_the_note_has_the_warnings_of_the_search(served: ServedIndexes) -> None:
    result, text = run(served, where={"yaer": 5})
    warning = "Warning: where: no document has the field 'yaer'; check the spelling."
    assert result.note == f"No passage matches the filter; list shows the fields and their values. {warning}"
    assert text == result.note
    # Of two indexes with the same warning, once; it counts toward the budget.
    result, text = run(served, where={"not": {"yaer": 5}}, max_tokens=200)
    assert result.note.count(warning) == 1
    assert count_tokens(text) <= 200


def test_a_query_that_is_read_in_part_warns(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with Index.create(paths[0].with_name("short"), encoder=ShortEncoder()) as index:
        index.add(["a"], ["late bats"])
    monkeypatch.setattr("serotine.encoders.Encoder", lambda *_, **__: ShortEncoder())
    served = ServedIndexes([paths[0].with_name("short")])
    try:
        _, text = search(served, SearchArguments(query="one two three four five bats"))
    finally:
        served.close()
    assert "Warning: query: longer than the 5 tokens that 'short' reads, got 6; the rest is ignored" in text


def test_list_says_what_recall_was_measured(
    served: ServedIndexes, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def recalls() -> list[str]:
        listed, text = list_indexes(served, ListArguments())
        assert all(f"\n  recall: {summary.recall}" in text for summary in listed.indexes)
        return [summary.recall for summary in listed.indexes]

    assert recalls() == ["Exact: every passage is scored over its vectors."] * 2
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)
    with Index.open(paths[0]) as index:
        index.add([str(n) for n in range(40)], texts=[f"late bats at night and owls, page {n}" for n in range(40)])
        index.compact()
    assert recalls()[0] == ("Not measured: searches take the effort of another collection until the index is tuned.")
    with Index.open(paths[0]) as index:
        statement = index.tune(["late bats", "owls"]).statement
    assert recalls()[0] == statement
    assert statement.startswith("Measured with 2 queries (the queries given): recall 0.99 takes ")
