"""A token budget shared among texts."""

from __future__ import annotations

from collections.abc import Sequence


def share_budget(costs: Sequence[int], budget: int, minimum: int) -> list[int] | None:
    """Return how many tokens each text gets: short texts their full cost, the others equal shares of the rest.

    None where a text would be cut to fewer than `minimum`.
    """
    share = _equal_share(costs, budget)
    if any(cost > share < minimum for cost in costs):
        return None
    return [min(cost, share) for cost in costs]


def _equal_share(costs: Sequence[int], budget: int) -> int:
    """Return the share that spends the budget when no text gets more than its share or its cost."""
    remaining = budget
    for i, cost in enumerate(sorted(costs)):
        share = remaining // (len(costs) - i)
        if cost > share:
            return max(share, 0)
        remaining -= cost
    return max(costs, default=0)
