"""Which documents become hits: a lowest score per query token, and one hit per document."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cli_fake import FakeEncoder
from helpers.eval_cases import write_beir
from helpers.fakes import WordEncoder
from helpers.serving_cases import serving

from serotine import Encoder, Index, maxsim
from serotine.cli import main
from serotine.evaluation import IndexSearch, load_beir

BAT, OWL, FOX = "the bat flies late", "an owl hunts silently", "a fox runs"


def passage(document: str, number: int) -> dict[str, Any]:
    return {"document": document, "start": 10 * number, "end": 10 * number + 9}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.create(tmp_path / "i.serotine", encoder=WordEncoder(64)) as index:
        index.add(["bat", "owl", "fox"], texts=[BAT, OWL, FOX])
        yield index


@pytest.fixture
def split(tmp_path: Path) -> Iterator[Index]:
    """Three records of many passages, one of which is about owls, and a short one."""
    with Index.create(tmp_path / "split.serotine", encoder=WordEncoder(64)) as index:
        for record in "abc":
            texts = [f"the bat flies late {record} {number}" for number in range(60)]
            ids = [f"{record}#{number}" for number in range(1, 61)]
            index.add(ids, texts, metadata=[passage(record, number) for number in range(60)])
        index.add(["short"], texts=["an owl hunts"])
        yield index


@pytest.mark.parametrize("mode", ["late", "hybrid"])
def test_a_score_per_token_is_maxsim_over_query_vectors(index: Index, mode: Any) -> None:
    query = "bat flies an owl"
    (vectors,) = WordEncoder(64).encode_queries([query])
    for hit in index.search(query, mode=mode):
        expected = maxsim.score(vectors, index.vectors(hit.id)) / len(vectors)
        assert hit.score_per_token == pytest.approx(float(expected), abs=1e-6)
        if mode == "late":
            assert hit.score_per_token == hit.score / len(vectors)
    assert index.search(BAT, 1)[0].score_per_token == pytest.approx(5 / 5, abs=0.2)
    assert index.search(vectors, 3)[0].score_per_token == index.search(query, 3)[0].score_per_token


def test_there_is_no_score_per_token_without_vectors(tmp_path: Path, index: Index) -> None:
    assert [hit.score_per_token for hit in index.search("bat", mode="bm25")] == [None]
    assert index.get(["bat"])[0].score_per_token is None
    with Index.create(tmp_path / "empty", dim=2) as empty:
        empty.add(["none", "one"], vectors=[np.empty((0, 2), np.float32), np.eye(2, dtype=np.float32)])
        (one,) = empty.search(np.eye(2))
        assert one.score_per_token == 1.0
        assert [hit.id for hit in empty.search(np.eye(2), min_score=-1.0)] == ["one"]


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"mode": "hybrid"}])
def test_hits_below_the_lowest_score_are_counted(index: Index, options: dict[str, Any]) -> None:
    every = index.search("the bat flies", 3, **options)
    assert every.stats.below_min_score == 0
    best, second = sorted((hit.score_per_token for hit in every), reverse=True)[:2]
    hits = index.search("the bat flies", 3, min_score=(best + second) / 2, **options)
    assert ([hit.id for hit in hits], hits.stats.below_min_score) == (["bat"], 2)
    assert index.search("the bat flies", 3, min_score=best, **options)[0].id == "bat"
    nothing = index.search("the bat flies", 3, min_score=2, **options)
    assert (len(nothing), nothing.stats.below_min_score) == (0, 3)
    assert nothing.stats.best_score_per_token == every.stats.best_score_per_token == best
    assert index.search("the bat flies", 1, min_score=2, **options).stats.below_min_score == 1
    page = index.search("the bat flies", 3, offset=1, min_score=second, **options)
    assert [hit.id for hit in page] == [hit.id for hit in index.search("the bat flies", 4, **options)[1:2]]


def test_a_hybrid_search_returns_k_hits_above_the_lowest_score(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", encoder=WordEncoder(64)) as index:
        # Words rank these first; their vectors are those of other words.
        others = WordEncoder(64).encode_documents(["nothing of it"])
        index.add([f"word{n}" for n in range(5)], texts=["bat bat bat"] * 5, vectors=others * 5)
        index.add([f"late{n}" for n in range(5)], texts=["a bat"] * 5)
        options: dict[str, Any] = {"mode": "hybrid", "weights": (0.1, 1.0)}
        assert {hit.id[:4] for hit in index.search("bat", 3, **options)} == {"word"}
        hits = index.search("bat", 3, min_score=0.4, **options)
        assert [hit.id for hit in hits] == ["late0", "late1", "late2"]
        assert hits.stats.below_min_score == 3


def test_a_lowest_score_is_validated(index: Index) -> None:
    for value, error, message in [
        ("0.5", TypeError, "min_score: must be a number, got str"),
        (True, TypeError, "min_score: must be a number, got bool"),
        (math.nan, ValueError, "min_score: must be finite, got nan"),
    ]:
        with pytest.raises(error, match=message):
            index.search("bat", min_score=value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='min_score: needs mode="late" or "hybrid"'):
        index.search("bat", mode="bm25", min_score=0.5)
    with pytest.raises(ValueError, match="group_by: must be one of None, 'document', got 'file'"):
        index.search("bat", group_by="file")  # type: ignore[arg-type]
    assert index.search("the bat", 1, min_score=np.float32(0.1))[0].id == "bat"


@pytest.mark.parametrize("options", [{}, {"exact": True}, {"mode": "bm25"}, {"mode": "hybrid"}])
def test_a_document_is_one_hit_with_its_best_passage(split: Index, options: dict[str, Any]) -> None:
    query = "the bat flies late 7 owl"
    passages = split.search(query, 181, **options)
    hits = split.search(query, 4, group_by="document", **options)
    assert sorted(hit.document for hit in hits) == ["a", "b", "c", "short"]
    best: dict[str, str] = {}
    for hit in passages:
        best.setdefault(hit.document, hit.id)
    assert [hit.id for hit in hits] == list(best.values())
    if options.get("mode", "late") == "late":
        # The others rank as many passages as they need for the hits.
        assert [hit.other_passages for hit in hits if hit.id != "short"] == [59, 59, 59]
    page = split.search(query, 2, offset=2, group_by="document", **options)
    assert page.items == hits.items[2:]
    assert len(split.search(query, 50, group_by="document", **options)) == 4


def test_enough_passages_are_ranked_for_k_documents(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", dim=2) as index:
        rows = [np.array([[1.0, 0.0]], np.float32)] * 500
        index.add([f"long#{n}" for n in range(500)], vectors=rows, metadata=[passage("long", n) for n in range(500)])
        index.add(["x", "y"], vectors=[np.array([[0.5, 0.0]], np.float32), np.array([[0.4, 0.0]], np.float32)])
        query = np.array([[1.0, 0.0]], np.float32)
        hits = index.search(query, 3, group_by="document")
        assert [(hit.document, hit.other_passages) for hit in hits] == [("long", 499), ("x", 0), ("y", 0)]
        first, second = index.search_batch([query, query], 1, group_by="document")
        assert first.items == second.items == index.search(query, 1, group_by="document").items
        above = index.search(query, 3, group_by="document", min_score=0.45)
        assert ([hit.document for hit in above], above.stats.below_min_score) == (["long", "x"], 1)
        where = {"document": {"!=": "long"}}
        assert [hit.id for hit in index.search(query, 3, group_by="document", where=where)] == ["x", "y"]


def test_passages_of_a_file_are_one_document_and_rows_of_a_table_are_many(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", encoder=WordEncoder(64)) as index:
        file = [{"source": "guide.md", "start": n, "end": n + 5} for n in range(2)]
        table = [{"source": "table.csv", "line": n} for n in range(2)]
        index.add(["guide.md#1", "guide.md#2"], texts=["bat one", "bat two"], metadata=file)
        index.add(["table.csv#1", "table.csv#2"], texts=["bat three", "bat four"], metadata=table)
        hits = index.search("bat", group_by="document")
        assert sorted(hit.document for hit in hits) == ["guide.md", "table.csv#1", "table.csv#2"]


def test_an_index_of_split_records_is_judged_by_the_records(tmp_path: Path, split: Index) -> None:
    documents = {"a": "bats", "b": "bats", "c": "bats", "short": "an owl hunts"}
    folder = write_beir(tmp_path / "toy", documents, {"q": "owl"}, {"test": {"q": {"short": 1}}})
    collection = load_beir(folder)
    answer = IndexSearch(split, WordEncoder(64)).answer(collection, 10)
    assert sorted(answer.run["q"]) == ["a", "b", "c", "short"]
    assert max(answer.run["q"], key=lambda id_: answer.run["q"][id_]) == "short"
    assert answer.notes == ["180 passages of longer documents: a document ranks by its best passage"]


def test_nonsense_finds_nothing_and_a_question_its_answer_with_the_default_encoder(tmp_path: Path) -> None:
    collection = load_beir(Path(__file__).parents[1] / "examples/cranfield")
    query = next(query for query, grades in collection.qrels.items() if len(grades) >= 5)
    relevant = [document for document, grade in collection.qrels[query].items() if grade > 0]
    documents = [*relevant, *list(collection.documents)[:30]]
    with Index.create(tmp_path / "i.serotine", encoder=Encoder()) as index:
        index.add(list(dict.fromkeys(documents)), [collection.documents[id_] for id_ in dict.fromkeys(documents)])
        hits = index.search(collection.queries[query], min_score=0.6)
        assert hits[0].id in relevant
        for nonsense in ("zzxqy qwrtplk", "which allies oppose the treaty of nassau?"):
            nothing = index.search(nonsense, min_score=0.6)
            assert (len(nothing), nothing.stats.below_min_score) == (0, 10)


def test_long_records_that_were_split_are_grouped(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", encoder=Encoder()) as index:
        long = " ".join(f"Bats of kind {number} hunt moths at night." for number in range(150))
        index.add(["long", "short"], texts=[long, "Owls hunt mice."], long_texts="split")
        assert len(index) > 2
        hits = index.search("which kind of bat hunts moths?", 2, group_by="document")
        assert [hit.document for hit in hits] == ["long", "short"]
        assert hits[0].id.startswith("long#")
        assert hits[0].other_passages == len(index) - 2
        documents = {"long": long, "short": "Owls hunt mice."}
        folder = write_beir(tmp_path / "toy", documents, {"q": "moths"}, {"test": {"q": {"long": 1}}})
        assert list(IndexSearch(index, Encoder()).answer(load_beir(folder), 2).run["q"]) == ["long", "short"]


def test_a_served_index_groups_pages_and_filters_like_one_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "served.serotine"
    with Index.create(path, encoder=FakeEncoder(), filterable={"document": str}) as index:
        for record in ("a", "b"):
            texts = [f"bats {record} are late {number}" for number in range(60)]
            ids = [f"{record}#{number}" for number in range(60)]
            index.add(ids, texts, metadata=[passage(record, number) for number in range(60)])
    program = (sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py"))
    options: list[dict[str, Any]] = [
        {"group_by": "document"},
        {"group_by": "document", "offset": 1, "mode": "hybrid"},
        {"group_by": "document", "mode": "bm25"},
        {"min_score": 0.6, "offset": 3},
        {"min_score": 0.6, "mode": "hybrid", "where": {"document": "b"}},
        {"min_score": 1.5, "exact": True},
        {"mode": "xtr", "k_token": 30, "offset": 2},
    ]
    with (
        serving(path, program=program) as server,
        server.client("served") as client,
        Index.open(path, read_only=True, encoder=FakeEncoder()) as index,
    ):
        for option in options:
            served, local = client.search("late bats 7", 4, **option), index.search("late bats 7", 4, **option)
            assert served.items == local.items, option
            assert [hit.document for hit in served] == [hit.document for hit in local]
            assert served.stats.below_min_score == local.stats.below_min_score
            assert served.stats.best_score_per_token == local.stats.best_score_per_token
            assert served.query == local.query == "late bats 7"
            assert [served.spans(n) for n in range(len(served))] == [local.spans(n) for n in range(len(local))]


@pytest.mark.parametrize("lowest", [7.0, -0.1, 1.01])
def test_a_lowest_score_outside_the_range_of_cosines(
    tmp_path: Path, lowest: float, capsys: pytest.CaptureFixture[str]
) -> None:
    message = f"min_score: must be between 0 and 1, got {lowest}; scores per token of 'serotine-mini' are cosines"
    with Index.create(tmp_path / "index", encoder=Encoder()) as index:
        index.add(ids=["bat"], texts=["The bat flies."])
        for options in ({"mode": "late"}, {"mode": "hybrid"}, {"exact": True}):
            with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                index.search("bat", min_score=lowest, **options)  # type: ignore[arg-type]
        for bound in (0, 1):
            index.search("bat", min_score=bound)
    assert main(["search", str(tmp_path / "index"), "bat", f"--min-score={lowest}"]) == 2
    assert f"error: --{message.replace('_', '-', 1)}; see serotine search --help" in capsys.readouterr().err
    with Index.create(tmp_path / "vectors", dim=2) as index:
        index.add(ids=["long"], vectors=[9 * np.eye(2)])
        assert len(index.search(np.eye(2), min_score=lowest)) == 1
