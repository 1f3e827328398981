"""Quality against compression as an SVG: what bytes buy on the left, what time buys on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serotine.charts import SHAPES, Axis, Mark, Panel, colour, drawing, legend, text

_WIDTH, _HEIGHT = 1060, 440
_LEFT, _MIDDLE, _TOP, _BOTTOM, _PANEL = 60, 500, 66, 380, 360
# Marks of the fewest and of the most dimensions, in radius.
_SMALLEST, _LARGEST = 2.5, 6.0
# Legends are read from the coarsest to the finest.
_FLAT = 64


def draw_compression(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """An SVG document.

    Args:
        rows: "searched" of `serotine bench compression`'s JSON.
        title: what is written above.
    """
    bits = sorted({row["nbits"] for row in rows}, key=lambda value: value or _FLAT)
    pools = sorted({row["pool_factor"] for row in rows})
    dims = sorted({row["dim"] for row in rows})
    colours = {nbits: colour(number) for number, nbits in enumerate(bits)}
    shapes = {factor: SHAPES[number % len(SHAPES)] for number, factor in enumerate(pools)}
    spread = max(len(dims) - 1, 1)
    radii = {
        dim: _LARGEST - (len(dims) - 1 - place) * (_LARGEST - _SMALLEST) / spread for place, dim in enumerate(dims)
    }

    def marks(x: str, y: str) -> list[Mark]:
        return [
            Mark(
                row[x],
                row[y],
                colours[row["nbits"]],
                f"{row['engine']}, {row['setting']}: nDCG@10 {row['ndcg_at_10'] * 100:.1f}, recall@10 "
                f"{row['recall_at_10']:.3f}, {row['bytes_per_token']:.0f} bytes a token, {row['p50_ms']:.2f} ms",
                shapes[row["pool_factor"]],
                radii[row["dim"]],
                0.75,
            )
            for row in rows
        ]

    parts: list[str] = []
    for left, x, x_label, y, y_label in (
        (_LEFT, "bytes_per_token", "bytes a token of the text", "ndcg_at_10", "nDCG@10"),
        (_MIDDLE, "p50_ms", "milliseconds a query, median, one thread", "recall_at_10", "recall@10 of exact MaxSim"),
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
        parts += panel.axes()
        parts += [panel.mark(mark) for mark in marks(x, y)]
    x_legend, line = _MIDDLE + _PANEL + 24, float(_TOP)
    for heading, entries in (
        ("bits a dimension", [(_bits(nbits), colours[nbits], SHAPES[0]) for nbits in bits]),
        ("tokens merged into one", [(f"{factor:g}", _INK, shapes[factor]) for factor in pools]),
    ):
        parts.append(text(x_legend - 5, line, heading, strong=True))
        parts += legend(x_legend, line + 18, entries)
        line += 18 * len(entries) + 44
    if len(dims) > 1:
        parts.append(text(x_legend - 5, line, "dimensions, by size:", strong=True))
        parts.append(text(x_legend - 5, line + 18, ", ".join(map(str, dims))))
    return drawing(_WIDTH, _HEIGHT, title, parts)


_INK = "var(--chart-label, #52606d)"


def _bits(nbits: int | None) -> str:
    return "16 (float16, all scored)" if nbits is None else str(nbits)
