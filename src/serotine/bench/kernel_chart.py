"""The kernel results as an SVG of horizontal bars, one panel a workload."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from serotine.bench.kernels import KernelTiming

_WIDTH, _LABEL, _BAR, _GAP, _HEAD = 860, 190, 16, 5, 34
_OURS, _EXACT, _OTHER = "#e4572e", "#5b8def", "#9aa5b1"


def draw_kernels(rows: Sequence[KernelTiming]) -> str:
    """An SVG document: documents a second, with each bar's largest error written beside it."""
    parts: list[str] = []
    y = 10
    for (workload, dim, threads), panel in groupby(rows, key=lambda row: (row.workload, row.dim, row.threads)):
        listed = list(panel)
        fastest = max(row.documents_per_second for row in listed)
        heading = f"{workload}, {dim} dimensions, {threads} thread{'s' if threads > 1 else ''}"
        parts.append(f'<text x="10" y="{y + 16}" font-weight="bold" fill="#1f2933">{escape(heading)}</text>')
        y += _HEAD - 6
        for row in listed:
            colour = _OURS if row.method.startswith("serotine") else _EXACT if row.exact else _OTHER
            length = (_WIDTH - _LABEL - 240) * row.documents_per_second / fastest
            middle = y + _BAR - 4
            note = f"{row.documents_per_second:,.1f}k docs/s, error {row.max_error:.0e}, {row.speedup:.2f}x"
            parts.append(f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end" fill="#1f2933">{row.method}</text>')
            parts.append(f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>')
            parts.append(f'<text x="{_LABEL + length + 6:.1f}" y="{middle}" fill="#52606d">{note}</text>')
            y += _BAR + _GAP
        y += 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="12">'
        "<title>MaxSim kernels: documents a second, with the largest error against float64</title>"
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"
