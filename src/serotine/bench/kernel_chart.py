"""Kernel timings as an SVG of horizontal bars, one panel per workload."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from serotine.bench.kernels import KernelTiming

_WIDTH, _LABEL, _BAR, _GAP, _HEAD = 860, 190, 16, 5, 34
_OURS, _EXACT, _OTHER = "#e4572e", "#5b8def", "#9aa5b1"


def draw_kernels(rows: Sequence[KernelTiming]) -> str:
    """Return an SVG document: documents per second, with the largest error beside each bar."""
    elements: list[str] = []
    y = 10
    for (workload, dim, threads), panel in groupby(rows, key=lambda row: (row.workload, row.dim, row.threads)):
        panel_rows = list(panel)
        fastest = max(row.documents_per_second for row in panel_rows)
        heading = f"{workload}, {dim} dimensions, {threads} thread{'s' if threads > 1 else ''}"
        elements.append(f'<text x="10" y="{y + 16}" font-weight="bold" fill="#1f2933">{escape(heading)}</text>')
        y += _HEAD - 6
        for row in panel_rows:
            color = _OURS if row.method.startswith("serotine") else _EXACT if row.exact else _OTHER
            length = (_WIDTH - _LABEL - 240) * row.documents_per_second / fastest
            middle = y + _BAR - 4
            note = f"{row.documents_per_second:,.1f}k docs/s, error {row.max_error:.0e}, {row.speedup:.2f}x"
            elements.append(f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end" fill="#1f2933">{row.method}</text>')
            elements.append(f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{color}"/>')
            elements.append(f'<text x="{_LABEL + length + 6:.1f}" y="{middle}" fill="#52606d">{note}</text>')
            y += _BAR + _GAP
        y += 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="12">'
        "<title>MaxSim kernels: documents per second, with the largest error against float64</title>"
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>'
    )
    return "\n".join([head, *elements, "</svg>"]) + "\n"
