"""Speed against recall as an SVG: one line per engine, up and to the left is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serotine.charts import Axis, Mark, Panel, drawing, legend, series_color
from serotine.evaluation import operating_points

_WIDTH, _HEIGHT, _LEGEND = 860, 440, 250


def draw_index(rows: Sequence[Mapping[str, Any]], k: int, title: str) -> str:
    """Return an SVG document: median milliseconds (logarithmic) and recall@k of every operating point."""
    field = f"recall_at_{k}"
    comparable = operating_points(rows, k)
    lowest = max(min(row[field] for row in comparable) - 0.02, 0.0)
    panel = Panel(
        60,
        60,
        _WIDTH - _LEGEND,
        _HEIGHT - 50,
        Axis.around("milliseconds per query, median, one thread", [row["p50_ms"] for row in comparable]),
        Axis(f"recall@{k} of exact MaxSim", lowest, 1.0),
    )
    elements = panel.axes()
    engines = list(dict.fromkeys(row["engine"] for row in comparable))
    for number, engine in enumerate(engines):
        points = sorted((row["p50_ms"], row[field]) for row in comparable if row["engine"] == engine)
        elements.append(panel.line(points, series_color(number)))
        elements += [
            panel.mark(Mark(ms, y, series_color(number), f"{engine}: {ms:.2f} ms, {y:.4f}")) for ms, y in points
        ]
    elements += legend(
        _WIDTH - _LEGEND + 20, 60, ((engine, series_color(number), "circle") for number, engine in enumerate(engines))
    )
    return drawing(_WIDTH, _HEIGHT, title, elements)
