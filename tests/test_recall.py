"""The recall that a search promises: its option, and the effort that keeps it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from helpers.small_engine import THRESHOLDS
from numpy.typing import NDArray

from serotine import Index, _core
from serotine.errors import IndexDamagedError, ReadOnlyError
from serotine.index import Calibration, Curve, SearchOptions
from serotine.index.search import plan
from serotine.index.search.effort import Effort, choose_effort
from serotine.index.store import calibration_table
from serotine.index.tuning.measurement import fit, upper_bound

CALIBRATION = Calibration(
    "checksum",
    1000,
    50,
    "given",
    "2026-01-01T00:00:00+00:00",
    (
        Curve(10, (20, 80, 320), (0.05, 0.005, 0.0005), (0.2, 0.02, 0.002), (0.1, 0.01, 0.001)),
        Curve(100, (200, 400, 800), (0.05, 0.005, 0.0005), (0.2, 0.02, 0.002), (0.1, 0.01, 0.001)),
    ),
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recall": 0}, "recall: must be above 0 and at most 1, got 0"),
        ({"recall": 1.01}, "recall: must be above 0 and at most 1, got 1.01"),
        ({"recall": float("nan")}, "recall: must be finite, got nan"),
        ({"recall": 0.9, "exact": True}, "recall: cannot be used with exact, got exact=True; drop one of the two"),
        ({"recall": 0.9, "candidates": 9}, "recall: cannot be used with candidates, got candidates=9; drop one of the"),
        ({"recall": 0.9, "mode": "bm25"}, 'recall: needs mode="late" or "hybrid"'),
    ],
)
def test_invalid_recall_is_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^recall") as raised:
        SearchOptions(**options)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    with pytest.raises(TypeError, match="recall: must be a number"):
        SearchOptions(recall="high")  # type: ignore[arg-type]


def effort(depth: int, **options: Any) -> tuple[int | None, float | None, float | None]:
    chosen = choose_effort(SearchOptions(depth, **options), depth, CALIBRATION)
    rounded = [None if x is None else round(x, 4) for x in (chosen.expected_recall, chosen.recall_lower_bound)]
    return chosen.candidates, rounded[0], rounded[1]


def test_the_least_effort_that_keeps_the_recall_is_chosen() -> None:
    # The share of misses that is 80% certain decides; the mean and the bound at 95% are reported.
    assert effort(10) == (80, 0.995, 0.98)
    assert effort(10, recall=0.9) == (20, 0.95, 0.8)
    # Fewer hits than any measured depth take the effort of the least.
    assert effort(1) == effort(9) == effort(10)
    # Between measured efforts, and between measured depths: straight lines between logarithms.
    assert effort(10, recall=1 - 0.1**1.5) == (40, 1 - 0.0158, 1 - 0.0632)
    assert effort(31, recall=0.99)[0] == math.ceil(80 * 5 ** math.log10(3.1))
    # In proportion beyond the largest depth that was measured.
    assert effort(250, recall=0.99) == (1000, 0.995, 0.98)
    # Never fewer candidates than hits, and no more confidence than was measured.
    assert effort(10, recall=0.01) == (20, 0.95, 0.8)
    # More than any measured effort keeps is kept by proof.
    assert effort(10, recall=0.9995) == (None, None, None)
    assert effort(10, recall=1) == (None, None, None)


def test_what_was_measured_of_a_given_effort_is_reported() -> None:
    assert effort(10, candidates=80) == (80, 0.995, 0.98)
    assert effort(10, candidates=40) == (40, 1 - 0.0158, 1 - 0.0632)
    assert effort(10, candidates=5000) == (5000, 0.9995, 0.998)
    assert effort(10, candidates=1) == (10, None, None)
    assert choose_effort(SearchOptions(candidates=80), 10, None).expected_recall is None


def test_without_a_calibration_more_recall_costs_more_and_nothing_is_claimed() -> None:
    efforts = [choose_effort(SearchOptions(recall=recall), 10, None) for recall in (0.9, 0.95, 0.99, 0.999)]
    counts = [one.candidates for one in efforts]
    assert None not in counts
    assert counts == sorted(set(counts))  # type: ignore[type-var]
    assert all(one.expected_recall is None and one.recall_lower_bound is None for one in efforts)
    assert choose_effort(SearchOptions(), 10, None) == efforts[2]
    # More documents take more of it, beyond those of the collection that it was set for.
    sizes = (0, 20_000, 61_402, 1_000_000)
    grown = [choose_effort(SearchOptions(), 10, None, documents).candidates or 0 for documents in sizes]
    assert grown[0] == grown[1] == efforts[2].candidates
    assert grown[1] < grown[2] < grown[3] < 3 * grown[1]


def test_few_hits_refine_more_documents_and_large_efforts_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "SearchOptions", lambda **options: options)
    few, ten, hundred, small = (
        cast("dict[str, int]", plan._stages(Effort(candidates), depth, 4, 20_000))
        for candidates, depth in ((512, 1), (512, 10), (512, 100), (128, 10))
    )
    assert (few["refined"], ten["refined"], hundred["refined"]) == (2348, 2348, 1888)
    # Eighteen documents for each that is refined: with the large effort all of 20,000 are scanned.
    assert (small["probed_from"], hundred["probed_from"]) == (plan.PROBED_FROM, 33_984)


def test_statistics_say_what_is_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((4, 8)) for _ in range(40)]
    with Index.create(tmp_path / "i", dim=8) as index:
        index.add(ids=[str(i) for i in range(40)], vectors=vectors)
        # Too small for codes: everything is scored exactly.
        stats = index.search(vectors[3]).stats
        assert (stats.plan, stats.expected_recall, stats.recall_lower_bound) == ("flat", 1.0, 1.0)
        for module, attribute, value in THRESHOLDS:
            monkeypatch.setattr(module, attribute, value)
        index.compact()
        searched = index.search(vectors[3], candidates=3, k=2)
        assert searched.stats.candidates == 3
        assert searched.stats.expected_recall is None
        # As many hits as documents: all of them are scored over their vectors.
        every = index.search(vectors[3], candidates=3, k=40).stats
        assert every.counts["codes"] == every.counts["vectors"] == 40
        assert every.expected_recall == every.recall_lower_bound == 1.0
        exact = index.search(vectors[3], k=2, recall=1)
        assert exact.stats.plan == "bounds"
        assert exact.stats.candidates is None
        assert exact.stats.expected_recall == exact.stats.recall_lower_bound == 1.0
        assert exact.certificate is not None
        assert exact.certificate.exact
        assert list(exact) == list(index.search(vectors[3], k=2, exact=True))


def test_rougher_codes_leave_more_to_the_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)
    vectors = list(np.random.default_rng(0).standard_normal((100, 4, 8)))
    rescored = {}
    for nbits in (2, 4, 8):
        with Index.create(tmp_path / str(nbits), dim=8, nbits=nbits) as index:
            index.add(ids=[str(i) for i in range(100)], vectors=vectors)
            index.compact()
            rescored[nbits] = [
                index.search(vectors[3], k=k, candidates=80).stats.counts["vectors"] - k for k in (1, 10, 40)
            ]
    assert rescored == {2: [20, 20, 30], 4: [5, 5, 10], 8: [5, 5, 10]}


def test_curves_never_rise_and_bounds_lie_above() -> None:
    rng = np.random.default_rng(1)
    shares = np.clip(rng.uniform(0.5, 1.1, (40, 1)) + np.array([0.0, 0.2, 0.1, 0.5]), 0, 1)
    curve = fit(10, (20, 40, 80, 160), shares, 1.0)
    assert list(curve.missed) == sorted(curve.missed, reverse=True)
    levels = zip(curve.missed, curve.missed_safe, curve.missed_bound, strict=True)
    assert all(missed <= safe <= bound for missed, safe, bound in levels)
    # Nothing was missed by the last effort, which is no certainty.
    assert curve.missed[-1] == pytest.approx(0.5 / 401)
    assert fit(10, (20, 40, 80, 160), shares, 2.0).missed[0] == pytest.approx(min(2 * curve.missed[0], 1))
    # More queries, a narrower bound.
    assert upper_bound(np.tile(1 - shares[:, 0], 9), 10) < upper_bound(1 - shares[:, 0], 10)


@pytest.mark.parametrize("queries", [64, 150, 300])
def test_a_promise_is_kept_in_more_than_three_of_four_calibrations(queries: int) -> None:
    rng = np.random.default_rng(queries)
    candidates = (20, 40, 80, 160, 320)
    true = np.array([0.2, 0.1, 0.05, 0.02, 0.004])
    kept = []
    for _ in range(400):
        # Some queries are harder: each misses hits with a probability of its own, which falls with the effort.
        hardness = rng.gamma(0.5, 2.0, (queries, 1))
        shares = 1 - rng.binomial(10, np.minimum(hardness * true, 1)) / 10
        curve = fit(10, candidates, shares, 1.0)
        chosen = choose_effort(
            SearchOptions(10, recall=0.95), 10, Calibration("", 1, queries, "given", "", (curve,))
        ).candidates
        missed = 0.0 if chosen is None else np.exp(np.interp(np.log(chosen), np.log(candidates), np.log(true)))
        kept.append(missed <= 0.05)
    assert np.mean(kept) > 0.75


def clustered(rng: np.random.Generator, count: int) -> list[NDArray[np.float32]]:
    return [rng.standard_normal((int(rng.integers(6, 12)), 8)).astype(np.float32) for _ in range(count)]


def test_tune_measures_what_searches_then_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute, value in THRESHOLDS:
        monkeypatch.setattr(module, attribute, value)
    rng = np.random.default_rng(2)
    vectors = clustered(rng, 400)
    queries = clustered(rng, 40)
    path = tmp_path / "i"
    with Index.create(path, dim=8, centroids=16, nbits=2) as index:
        index.add(ids=[str(i) for i in range(400)], vectors=vectors)
        index.compact()
        report = index.tune(queries)
        assert report.calibration is not None
        assert (report.calibration.queries, report.calibration.origin) == (40, "given")
        assert report.statement.startswith("Measured with 40 queries (the queries given): recall 0.99 takes ")
    with Index.open(path, read_only=True) as reader:
        answers = [(reader.search(query, recall=0.9), reader.search(query, exact=True)) for query in queries]
        found = [len({hit.id for hit in hits} & {hit.id for hit in exact}) for hits, exact in answers]
        stats = reader.search(queries[0], recall=0.9).stats
        assert stats.expected_recall is not None
        assert stats.recall_lower_bound is not None
        assert 0.9 <= stats.expected_recall <= 1
        assert stats.recall_lower_bound <= stats.expected_recall
        assert np.mean(found) / 10 >= 0.9
        with pytest.raises(ReadOnlyError):
            reader.tune(queries)
    with Index.open(path) as index:
        # Without queries, from the index's own documents.
        own = index.tune()
        assert own.calibration is not None
        assert own.calibration.origin == "tokens"
        assert own.calibration.queries == 300
        # A calibration of another codebook is not used.
        with index._store.transaction() as transaction:
            transaction.set_calibration(replace(own.calibration, codebook="another"))
        assert index.search(queries[0]).stats.expected_recall is None
        # Nor is one of an earlier version's search, which was another: the index is measured again.
        index.tune(queries)
        assert index.search(queries[0]).stats.expected_recall is not None
        with index._store.catalog.transaction() as connection:
            (content,) = connection.execute("SELECT content FROM calibrations").fetchone()
            for version in (None, 1, 999):
                earlier = {**json.loads(content), "search": version}
                if version is None:
                    del earlier["search"]
                rewritten = json.dumps(earlier)
                checksum = calibration_table._checksum(rewritten)
                connection.execute("UPDATE calibrations SET content = ?, checksum = ?", (rewritten, checksum))
                assert calibration_table.load(connection) is None
        with Index.open(path, read_only=True) as reader:
            assert reader.stats().calibration is None
        index.verify()
        # Nor is one that was damaged, which verify reports.
        with index._store.catalog.transaction() as connection:
            connection.execute("UPDATE calibrations SET content = replace(content, 'tokens', 'given')")
        with pytest.raises(IndexDamagedError, match="calibration of recall does not match its checksum"):
            index.verify()


def test_tune_says_where_nothing_has_to_be_measured(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i", dim=2) as index:
        assert index.tune().statement == "No calibration is needed: all of the 0 documents are scored exactly."
        assert index.tune().calibration is None
        with pytest.raises(ValueError, match="queries: must be a list of at least one query"):
            index.tune([])
