"""Searches whose best hit is weak: what says so, and what does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serotine import Encoder, Index
from serotine.cli import main
from serotine.encoders import source_fingerprint
from serotine.errors import UnknownTextWarning, WeakMatchWarning
from serotine.index import weak_matches
from serotine.index.weak_matches import merged_warnings

pytest.importorskip("serotine_mini")
TEXTS = {
    "bat": "The serotine is a large bat. It leaves its roost late in the evening.",
    "owl": "Owls hunt mice at night, by ear.",
    "bread": "Bread rises because yeast produces carbon dioxide.",
}
ON_TOPIC, OFF_TOPIC = "when does the serotine bat leave its roost?", "zzxqy qwrtplk"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def index(tmp_path: Path, encoder: Encoder) -> Iterator[Index]:
    with Index.create(tmp_path / "bats.serotine", encoder=encoder) as index:
        index.add(ids=list(TEXTS), texts=list(TEXTS.values()))
        yield index


@pytest.mark.parametrize(
    ("result", "threshold", "off_topic", "random_letters"),
    # The scores of serotine-multi are close together: it warns of fewer, rather than of good ones.
    [("min_score.json", 0.55, 0.25, 0.06), ("min_score_multi.json", 0.86, 0.63, 0.54)],
)
def test_the_threshold_is_the_measured_one(
    result: str, threshold: float, off_topic: float, random_letters: float
) -> None:
    measured = json.loads((RESULTS / result).read_text(encoding="utf-8"))
    assert weak_matches._THRESHOLDS[source_fingerprint(measured["fingerprint"])] == threshold
    # The share of a collection's own queries that it refuses, and of others that it accepts.
    shares = measured["thresholds"][f"{threshold:.2f}"]
    assert shares["on-topic"] < 0.01
    assert shares["on-topic word"] < 0.02
    assert shares["off-topic"] < off_topic
    assert shares["random letters"] < random_letters


def test_serotine_multi_warns_in_every_language(tmp_path: Path) -> None:
    pytest.importorskip("serotine_multi")
    texts = {
        "bat": "The serotine is a large bat. It leaves its roost late in the evening.",
        "owl": "Eulen jagen nachts Mäuse mit dem Gehör.",
        "bread": "Le pain lève parce que la levure produit du dioxyde de carbone.",
        "sun": "太阳是太阳系的中心恒星。",
    }
    queries = {
        "when does the serotine bat leave its roost?": "bat",
        "was jagen Eulen?": "owl",
        "pourquoi le pain lève-t-il ?": "bread",
        "太阳系的中心是什么": "sun",
    }
    with Index.create(tmp_path / "all.serotine", encoder="multi") as index:
        index.add(ids=list(texts), texts=list(texts.values()))
        for query, id_ in queries.items():
            hits = index.search(query)
            assert (hits[0].id, hits.warnings) == (id_, ())
        (warning,) = index.search(OFF_TOPIC).warnings
    assert str(warning).startswith("hits: weak matches, even the best below 0.86 per query token; ")


@pytest.mark.filterwarnings("error")
def test_a_query_that_nothing_answers_has_weak_matches(index: Index, encoder: Encoder) -> None:
    assert index.search(ON_TOPIC).warnings == ()
    for options in ({}, {"mode": "hybrid"}, {"exact": True}, {"offset": 1}, {"k": 1}, {"group_by": "document"}):
        hits = index.search(OFF_TOPIC, **options)
        (warning,) = hits.warnings
        assert isinstance(warning, WeakMatchWarning)
        # No score: that of the best by MaxSim may be of no hit, and every hit has its own.
        assert str(warning) == (
            "hits: weak matches, even the best below 0.55 per query token; the documents seldom answer such a query"
        )
    for others in ({"mode": "bm25"}, {"min_score": 0.1}, {"mode": "hybrid", "min_score": 0.1}):
        assert index.search(OFF_TOPIC, **others).warnings == ()
    # MaxSim says little about a query that the encoder does not know, which has a warning of its own.
    with pytest.warns(UnknownTextWarning):
        (unknown,) = index.search("ค้างคาวออกหากิน").warnings
    assert isinstance(unknown, UnknownTextWarning)
    assert index.search(encoder.encode_queries([OFF_TOPIC])[0]).warnings == ()
    weak, strong = index.search_batch([OFF_TOPIC, ON_TOPIC])
    assert (len(weak.warnings), strong.warnings) == (1, ())


def test_matches_of_several_indexes_are_weak_where_all_are(tmp_path: Path, index: Index, encoder: Encoder) -> None:
    with Index.create(tmp_path / "bread.serotine", encoder=encoder) as other:
        other.add(ids=["yeast"], texts=["Yeast is a fungus that ferments sugar."])
        results = [one.search(ON_TOPIC) for one in (index, other)]
        assert [len(hits.warnings) for hits in results] == [0, 1]
        assert merged_warnings(results) == []
        results = [one.search(OFF_TOPIC) for one in (other, index)]
        assert list(map(str, merged_warnings(results))) == list(map(str, results[0].warnings))


def test_the_command_line_says_so(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    index.close()
    assert main(["search", str(index.path), OFF_TOPIC]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: hits: weak matches, even the best below 0.55 per query token; ")
    assert main(["search", str(index.path), OFF_TOPIC, "--json", "-"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning["kind"] == "WeakMatchWarning"
    assert main(["search", str(index.path), ON_TOPIC]) == 0
    assert capsys.readouterr().err == ""
