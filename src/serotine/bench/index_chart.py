"""Speed against recall as an SVG: one line an engine, up and to the left is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serotine.charts import Axis, Mark, Panel, colour, drawing, legend
from serotine.evaluation import operating_points

_WIDTH, _HEIGHT, _LEGEND = 860, 440, 250


def draw_index(rows: Sequence[Mapping[str, Any]], k: int, title: str) -> str:
    """An SVG document: median milliseconds (logarithmic) and recall@k of every operating point."""
    field = f"recall_at_{k}"
    shown = operating_points(rows, k)
    lowest = max(min(row[field] for row in shown) - 0.02, 0.0)
    panel = Panel(
        60,
        60,
        _WIDTH - _LEGEND,
        _HEIGHT - 50,
        Axis.around("milliseconds a query, median, one thread", [row["p50_ms"] for row in shown]),
        Axis(f"recall@{k} of exact MaxSim", lowest, 1.0),
    )
    parts = panel.axes()
    engines = list(dict.fromkeys(row["engine"] for row in shown))
    for number, engine in enumerate(engines):
        own = sorted((row["p50_ms"], row[field]) for row in shown if row["engine"] == engine)
        parts.append(panel.line(own, colour(number)))
        parts += [panel.mark(Mark(ms, y, colour(number), f"{engine}: {ms:.2f} ms, {y:.4f}")) for ms, y in own]
    parts += legend(
        _WIDTH - _LEGEND + 20, 60, ((engine, colour(number), "circle") for number, engine in enumerate(engines))
    )
    return drawing(_WIDTH, _HEIGHT, title, parts)
