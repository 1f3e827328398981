"""The simulation of many shards: queues, replicas, hedging and slow machines, with times that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.scripts import load_script

SCRIPT = load_script(Path(__file__).parents[1] / "benchmarks/shards.py", "shards_benchmark")
CONSTANT = np.full((3, 4), 10.0)
MEASURED, SLOW, STALLS = SCRIPT.CONDITIONS


def p99(times: np.ndarray, replicas: int, hedge_after: float | None, condition: object) -> float:
    responses = SCRIPT.simulate(times, 20, replicas, hedge_after, condition, 400)
    return float(np.percentile(responses.milliseconds.max(axis=1), 99))


def test_a_replica_answers_one_request_at_a_time() -> None:
    responses = SCRIPT.simulate(CONSTANT, 5, 1, None, MEASURED, 2000).milliseconds
    assert responses.min() == pytest.approx(10)
    # The mean wait of requests of one length that arrive at random: utilization / (1 - utilization) / 2 of it.
    assert responses.mean() == pytest.approx(10 * (1 + 0.2 / 0.8 / 2), rel=0.1)


def test_one_slow_machine_slows_the_whole_search() -> None:
    responses = SCRIPT.simulate(CONSTANT, 5, 1, None, SLOW, 500).milliseconds
    assert responses[:, 0].min() == pytest.approx(40)
    assert np.median(responses[:, 1:]) < 15
    assert np.median(responses.max(axis=1)) >= 40


def test_hedging_goes_around_a_slow_machine_and_stalls() -> None:
    for condition in (SLOW, STALLS):
        assert p99(CONSTANT, 2, 15.0, condition) < 0.6 * p99(CONSTANT, 2, None, condition)
    responses = SCRIPT.simulate(CONSTANT, 20, 2, 15.0, SLOW, 400)
    assert 0 < responses.second_requests < 0.15
    assert SCRIPT.simulate(CONSTANT, 20, 2, None, SLOW, 400).second_requests == 0


def test_the_first_answer_counts() -> None:
    late = SCRIPT.simulate(CONSTANT, 1, 2, 12.0, SLOW, 400).milliseconds
    assert late.max() < 40 + 22
    assert np.percentile(late, 95) <= 12 + 10 + 12


def test_merging_takes_the_code_that_merges_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = []
    real = SCRIPT.merge_late

    def recorded(rankings: object, depth: int, **options: object) -> object:
        merged.append((rankings, real(rankings, depth, **options)))
        return merged[-1][1]

    monkeypatch.setattr(SCRIPT, "merge_late", recorded)
    rng = np.random.default_rng(0)
    scores = [[sorted(rng.random(10).tolist(), reverse=True) for _ in range(4)] for _ in range(5)]
    assert len(SCRIPT.merge_times(scores, 30)) == len(merged) == SCRIPT.MERGES
    for rankings, ranking in merged:
        every = sorted((score for shard in rankings.values() for score in shard.scores), reverse=True)
        assert ranking.scores == every[: SCRIPT.K]
