"""Draw docs/quality.svg from benchmarks/results/serotine-mini.json, a result of `serotine eval --json`.

python benchmarks/quality_chart.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERIES = (
    ("bm25", "BM25", "#9aa5b1"),
    ("minilm (pooled)", "MiniLM, one vector per text", "#5b8def"),
    ("minilm-512", "MiniLM, late, untrained", "#f2b134"),
    ("serotine-mini", "serotine-mini", "#e4572e"),
)
COLLECTIONS = ("cranfield", "scifact", "medline", "time")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 760, 300, 40, 46, 34


def main() -> int:
    """Write the chart: grouped bars, one group per collection."""
    rows = json.loads((ROOT / "benchmarks/results/serotine-mini.json").read_text())["results"]
    ndcg = {(Path(row["system"]).name, row["collection"]): row["metrics"]["nDCG@10"] * 100 for row in rows}
    scale = (HEIGHT - TOP - BOTTOM) / 90.0
    group = (WIDTH - LEFT - 10) / len(COLLECTIONS)
    bar = group / (len(SERIES) + 1)
    base = HEIGHT - BOTTOM
    elements = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        "<title>nDCG@10 of BM25, a pooled vector, late interaction untrained and trained</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for value in range(0, 91, 20):
        y = base - value * scale
        elements.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e8ec"/>')
        elements.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#52606d">{value}</text>')
    for i, (_, label, color) in enumerate(SERIES):
        x = LEFT + i * 172.0
        elements.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{color}"/>')
        elements.append(f'<text x="{x + 18}" y="22" fill="#1f2933">{label}</text>')
    elements.append(f'<text x="{WIDTH - 10}" y="22" text-anchor="end" fill="#52606d">nDCG@10</text>')
    for g, collection in enumerate(COLLECTIONS):
        x0 = LEFT + g * group + bar / 2
        for i, (key, _, color) in enumerate(SERIES):
            height = ndcg[key, collection] * scale
            x = x0 + i * bar
            elements.append(
                f'<rect x="{x:.1f}" y="{base - height:.1f}" width="{bar - 4:.1f}" height="{height:.1f}" '
                f'fill="{color}"/>'
            )
            elements.append(
                f'<text x="{x + bar / 2 - 2:.1f}" y="{base - height - 4:.1f}" text-anchor="middle" fill="#1f2933">'
                f"{ndcg[key, collection]:.1f}</text>"
            )
        elements.append(
            f'<text x="{x0 + len(SERIES) / 2 * bar - 2:.1f}" y="{base + 18}" text-anchor="middle" fill="#1f2933">'
            f"{collection}</text>"
        )
    elements.append("</svg>")
    (ROOT / "docs/quality.svg").write_text("\n".join(elements) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
