"""The correction of p-values that the benchmarks of quality share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serotine.evaluation.comparison.significance import holm


def add_corrected_p(rows: Sequence[dict[str, Any]]) -> None:
    """Set "corrected_p" of every row to its "p" after Holm's correction over all rows."""
    for row, corrected in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["corrected_p"] = corrected
