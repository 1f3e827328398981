"""Interleaved timing: every contender once a round, so that a machine that slows down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[str], None] | None = None
) -> dict[str, list[float]]:
    """Time every contender once a round, after one run each that is not counted.

    Args:
        contenders: what to call, by name.
        rounds: how often.
        before: called with the name before each run, untimed.

    Returns:
        Seconds of each run, by name, in round order.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            if before is not None:
                before(name)
            started = time.perf_counter()
            run()
            spent = time.perf_counter() - started
            if number:
                seconds[name].append(spent)
    return seconds


def median_ratio(baseline: list[float], other: list[float]) -> float:
    """How many times faster `other` is: the median over rounds of baseline / other."""
    return statistics.median(b / o for b, o in zip(baseline, other, strict=True))
