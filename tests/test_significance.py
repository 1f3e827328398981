"""The randomization test and Holm's correction, against hand-computed cases and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from serotine.evaluation.comparison.significance import holm, randomization_test


def test_every_choice_of_signs_by_hand() -> None:
    # Of the eight sums of +-1 +-2 +-3, two are as far from 0 as 6.
    assert randomization_test([1.0, 2.0, 3.0]) == (2 / 8, True)
    # |1 + 2 - 3| = 0: every choice is at least as far.
    assert randomization_test([1.0, 2.0, -3.0]) == (1.0, True)
    assert randomization_test([0.5]) == (1.0, True)


def test_ties_have_no_effect() -> None:
    assert randomization_test([0.0, 1.0, 0.0, 2.0, 3.0] + [0.0] * 50) == (2 / 8, True)
    assert randomization_test([]) == (1.0, True)
    assert randomization_test([0.0, 0.0]) == (1.0, True)


def test_sums_equal_up_to_rounding_count_as_equal() -> None:
    values = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, -0.1]
    exact = [1, 2, 3, 1, 2, 3, -1]
    sums = [
        abs(sum(s * v for s, v in zip(signs, exact, strict=True))) for signs in itertools.product((1, -1), repeat=7)
    ]
    assert randomization_test(values)[0] == sum(value >= sum(exact) for value in sums) / len(sums)


def test_scipy_agrees() -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed")
    values = np.random.default_rng(3).normal(0.15, 0.5, 14)
    other = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    )
    assert randomization_test(values)[0] == pytest.approx(other.pvalue, abs=1e-12)


def test_a_sampled_p_is_close_to_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(0.2, 0.5, 16)
    exact, is_exact = randomization_test(values)
    assert is_exact
    monkeypatch.setattr("serotine.evaluation.comparison.significance._EXACT", 0)
    sampled, is_exact = randomization_test(values, rounds=50_000, seed=1)
    assert not is_exact
    assert sampled == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 50_000) ** 0.5)
    assert randomization_test(values, rounds=50_000, seed=1)[0] == sampled


def test_a_sampled_p_is_never_0_and_is_uniform_under_the_null() -> None:
    assert randomization_test([1.0] * 40, rounds=99)[0] == 1 / 100
    rng = np.random.default_rng(5)
    p_values = [randomization_test(rng.normal(0, 1, 30), rounds=199, seed=i)[0] for i in range(400)]
    # 400 draws of 5%: 20 are expected, with a standard deviation of 4.4.
    assert 6 <= sum(p <= 0.05 for p in p_values) <= 36


def test_holm_by_hand() -> None:
    # 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 * 1, made non-decreasing.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


@pytest.mark.parametrize(("values", "rounds", "words"), [([float("nan")], 1, "finite"), ([1.0], 0, "rounds: must be")])
def test_bad_input(values: list[float], rounds: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        randomization_test(values, rounds=rounds)
