"""Draws docs/quality.svg from benchmarks/results/quality.json.

python benchmarks/quality_chart.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERIES = (
    ("bm25", "BM25", "#9aa5b1"),
    ("pooled", "MiniLM, one vector a text", "#5b8def"),
    ("late", "MiniLM, late interaction", "#e4572e"),
)
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 760, 300, 40, 46, 34


def main() -> int:
    """Writes the chart: grouped bars, one group a collection."""
    result = json.loads((ROOT / "benchmarks/results/quality.json").read_text())
    rows = result["rows"]
    scale = (HEIGHT - TOP - BOTTOM) / 90.0
    group = (WIDTH - LEFT - 10) / len(rows)
    bar = group / (len(SERIES) + 1)
    base = HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        "<title>nDCG@10 of BM25, a pooled vector and late interaction</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for value in range(0, 91, 20):
        y = base - value * scale
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e8ec"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#52606d">{value}</text>')
    for i, (_, label, colour) in enumerate(SERIES):
        x = LEFT + i * 235.0
        parts.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="22" fill="#1f2933">{label}</text>')
    parts.append(f'<text x="{WIDTH - 10}" y="22" text-anchor="end" fill="#52606d">nDCG@10</text>')
    for g, row in enumerate(rows):
        x0 = LEFT + g * group + bar / 2
        for i, (key, _, colour) in enumerate(SERIES):
            height = row[key] * scale
            x = x0 + i * bar
            parts.append(
                f'<rect x="{x:.1f}" y="{base - height:.1f}" width="{bar - 4:.1f}" height="{height:.1f}" '
                f'fill="{colour}"/>'
            )
            parts.append(
                f'<text x="{x + bar / 2 - 2:.1f}" y="{base - height - 4:.1f}" text-anchor="middle" fill="#1f2933">'
                f"{row[key]:.1f}</text>"
            )
        parts.append(
            f'<text x="{x0 + 1.5 * bar - 2:.1f}" y="{base + 18}" text-anchor="middle" fill="#1f2933">'
            f"{row['collection']}</text>"
        )
    parts.append("</svg>")
    (ROOT / "docs/quality.svg").write_text("\n".join(parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
