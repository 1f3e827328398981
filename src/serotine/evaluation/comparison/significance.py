"""Whether a difference between systems may be chance: paired randomization, Holm's correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Up to so many queries that differ, every choice of signs is tried.
_EXACT = 16
_SIGNS_AT_ONCE = 1 << 22


def randomization_test(
    differences: Sequence[float] | NDArray[np.float64], *, rounds: int = 100_000, seed: int = 0
) -> tuple[float, bool]:
    """The two-sided paired randomization test (Fisher 1935; for retrieval: Smucker, Allan and Carterette 2007).

    If the two systems were the same, each query's difference could as well have had the other sign: p is the share of
    choices of signs whose mean is at least as far from 0 as the mean observed.

    Args:
        differences: one a query, (queries,); ties count 0 and change nothing.
        rounds: random choices of signs, where there are too many queries (over 16 that differ) to try all.
        seed: of these.

    Returns:
        p, in (0, 1], and whether it is exact. A sampled p counts the observed choice too, so that it is never 0.

    Raises:
        ValueError: a difference is not finite, or rounds is below 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"differences: want finite numbers, (queries,), got shape {values.shape}")
    if rounds < 1:
        raise ValueError(f"rounds: want at least 1, got {rounds}")
    values = values[values != 0]
    if not values.size:
        return 1.0, True
    # What is equal but for rounding counts as equally far.
    observed = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    if values.size <= _EXACT:
        every = np.arange(1 << values.size, dtype=np.int64)[:, None] >> np.arange(values.size) & 1
        return float(np.mean(np.abs((2 * every - 1) @ values) >= observed)), True
    generator = np.random.default_rng(seed)
    reached, left = 0, rounds
    while left:
        part = min(left, max(_SIGNS_AT_ONCE // values.size, 1))
        drawn = generator.integers(0, 256, (part, (values.size + 7) // 8), dtype=np.uint8)
        positive = np.unpackbits(drawn, axis=1, count=values.size)
        # The sum with signs is twice that of the positive ones less that of all.
        reached += int(np.count_nonzero(np.abs(2 * (positive @ values) - values.sum()) >= observed))
        left -= part
    return (reached + 1) / (rounds + 1), False


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for having made all these tests at once (Holm 1979), in the same order.

    Those below a level keep the chance of even one false finding below it.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min((len(p_values) - rank) * p_values[place], 1.0))
        corrected[place] = highest
    return corrected
