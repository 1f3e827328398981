"""Quality against compression as an SVG: nDCG by bytes on the left, recall by time on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serotine.charts import SHAPES, Axis, Mark, Panel, drawing, legend, series_color, text

_WIDTH, _HEIGHT = 1060, 440
_LEFT, _MIDDLE, _TOP, _BOTTOM, _PANEL = 60, 500, 66, 380, 360
# Radii of the marks with the fewest and with the most dimensions.
_MIN_RADIUS, _MAX_RADIUS = 2.5, 6.0
# Sorts float16 after all codes in the legend.
_FLAT = 64
_INK = "var(--chart-label, #52606d)"


def draw_compression(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return the chart as an SVG document.

    Args:
        rows: "searched" of `serotine bench compression`'s JSON.
        title: heading of the chart.
    """
    bits = sorted({row["nbits"] for row in rows}, key=lambda value: value or _FLAT)
    pools = sorted({row["pool_factor"] for row in rows})
    dims = sorted({row["dim"] for row in rows})
    colors = {nbits: series_color(number) for number, nbits in enumerate(bits)}
    shapes = {factor: SHAPES[number % len(SHAPES)] for number, factor in enumerate(pools)}
    radius_step = (_MAX_RADIUS - _MIN_RADIUS) / max(len(dims) - 1, 1)
    radii = {dim: _MAX_RADIUS - number * radius_step for number, dim in enumerate(reversed(dims))}

    def marks(x: str, y: str) -> list[Mark]:
        return [
            Mark(
                row[x],
                row[y],
                colors[row["nbits"]],
                f"{row['engine']}, {row['setting']}: nDCG@10 {row['ndcg_at_10'] * 100:.1f}, recall@10 "
                f"{row['recall_at_10']:.3f}, {row['bytes_per_token']:.0f} bytes per token, {row['p50_ms']:.2f} ms",
                shapes[row["pool_factor"]],
                radii[row["dim"]],
                0.75,
            )
            for row in rows
        ]

    elements: list[str] = []
    for left, x, x_label, y, y_label in (
        (_LEFT, "bytes_per_token", "bytes per token of the text", "ndcg_at_10", "nDCG@10"),
        (_MIDDLE, "p50_ms", "milliseconds per query, median, one thread", "recall_at_10", "recall@10 of exact MaxSim"),
    ):
        values = [row[y] for row in rows]
        margin = max((max(values) - min(values)) * 0.05, 0.005)
        panel = Panel(
            left,
            _TOP,
            left + _PANEL,
            _BOTTOM,
            Axis.around(x_label, [row[x] for row in rows]),
            Axis(y_label, max(min(values) - margin, 0.0), min(max(values) + margin, 1.0)),
        )
        elements += panel.axes()
        elements += [panel.mark(mark) for mark in marks(x, y)]
    x_legend, y_legend = _MIDDLE + _PANEL + 24, float(_TOP)
    for heading, entries in (
        ("bits per dimension", [(_bits(nbits), colors[nbits], SHAPES[0]) for nbits in bits]),
        ("tokens merged into one", [(f"{factor:g}", _INK, shapes[factor]) for factor in pools]),
    ):
        elements.append(text(x_legend - 5, y_legend, heading, strong=True))
        elements += legend(x_legend, y_legend + 18, entries)
        y_legend += 18 * len(entries) + 44
    if len(dims) > 1:
        elements.append(text(x_legend - 5, y_legend, "dimensions, by size:", strong=True))
        elements.append(text(x_legend - 5, y_legend + 18, ", ".join(map(str, dims))))
    return drawing(_WIDTH, _HEIGHT, title, elements)


def _bits(nbits: int | None) -> str:
    return "16 (float16, all scored)" if nbits is None else str(nbits)
