"""Interleaved timing: every contender runs once per round, so that a machine that slows down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def time_interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[str], None] | None = None
) -> dict[str, list[float]]:
    """Time every contender once per round, after one warm-up run each.

    Args:
        contenders: functions to time, by name.
        rounds: number of timed rounds.
        before: called with the name before each run, untimed.

    Returns:
        Seconds of each run, by name, in round order.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, run in contenders.items():
            if before is not None:
                before(name)
            started = time.perf_counter()
            run()
            elapsed = time.perf_counter() - started
            if round_:
                seconds[name].append(elapsed)
    return seconds


def median_ratio(baseline: list[float], other: list[float]) -> float:
    """Return how many times faster `other` is: the median over rounds of baseline / other."""
    return statistics.median(b / o for b, o in zip(baseline, other, strict=True))
