"""Operating points: what `serotine bench index` and `serotine bench compression` measured, as charts compare it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def operating_points(rows: Sequence[Mapping[str, Any]], k: int) -> list[Mapping[str, Any]]:
    """The rows that can be compared: k hits asked for, everything searched, nothing changed before.

    Raises:
        ValueError: there are none.
    """
    field = f"recall_at_{k}"
    shown = [row for row in rows if row["k"] == k and row[field] is not None]
    shown = [row for row in shown if not row["setting"].startswith(("filter", "after"))]
    if not shown:
        raise ValueError(f"rows: none has {field}")
    return shown
