"""Significance of differences between systems: paired randomization tests, Holm's correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.errors import invalid

# Up to this number of queries that differ, every choice of signs is tried.
_EXACT = 16
_MAX_SIGNS = 1 << 22


def randomization_test(
    differences: Sequence[float] | NDArray[np.float64], *, rounds: int = 100_000, seed: int = 0
) -> tuple[float, bool]:
    """Run the two-sided paired randomization test (Fisher 1935; for retrieval: Smucker, Allan and Carterette 2007).

    If the systems were equally good, the difference on a query would be as likely to have the other sign: p is the
    share of choices of signs whose mean is at least as far from 0 as the observed mean.

    Args:
        differences: the difference on each query, (queries,); ties are 0 and have no effect.
        rounds: the number of random choices of signs, if more than 16 queries differ; up to 16, all choices are tried.
        seed: the seed of the random choices.

    Returns:
        p, in (0, 1], and whether it is exact. A sampled p includes the observed choice, so that it is never 0.

    Raises:
        ValueError: a difference is not finite, or rounds is below 1.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"differences: must have shape (queries,), got {values.shape}")
    if not np.isfinite(values).all():
        raise invalid("differences", "finite", values[~np.isfinite(values)][0].item())
    if rounds < 1:
        raise invalid("rounds", "at least 1", rounds)
    values = values[values != 0]
    if not values.size:
        return 1.0, True
    # Means that differ only by rounding are equally far from 0.
    observed = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    if values.size <= _EXACT:
        signs = 2 * (np.arange(1 << values.size, dtype=np.int64)[:, None] >> np.arange(values.size) & 1) - 1
        return float(np.mean(np.abs(signs @ values) >= observed)), True
    generator = np.random.default_rng(seed)
    extreme, remaining = 0, rounds
    while remaining:
        batch_size = min(remaining, max(_MAX_SIGNS // values.size, 1))
        random_bytes = generator.integers(0, 256, (batch_size, (values.size + 7) // 8), dtype=np.uint8)
        positive = np.unpackbits(random_bytes, axis=1, count=values.size)
        # The signed sum is twice the sum of the positive values minus the sum of all.
        extreme += int(np.count_nonzero(np.abs(2 * (positive @ values) - values.sum()) >= observed))
        remaining -= batch_size
    return (extreme + 1) / (rounds + 1), False


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for multiple tests (Holm 1979), in the same order.

    Rejecting those below a level keeps the probability of any false rejection below that level.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min((len(p_values) - rank) * p_values[index], 1.0))
        corrected[index] = highest
    return corrected
