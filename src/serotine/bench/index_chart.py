"""Speed against recall as an SVG: one line an engine, up and to the left is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 860, 440, 60, 50, 50, 250
_COLOURS = ("#e4572e", "#2e86ab", "#f3a712", "#5b8def", "#6a994e", "#8d5a97", "#9aa5b1", "#3d405b")


def draw(rows: Sequence[Mapping[str, Any]], k: int, title: str) -> str:
    """An SVG document: median milliseconds (logarithmic) and recall@k of every operating point."""
    field = f"recall_at_{k}"
    shown = [row for row in rows if row["k"] == k and row[field] is not None]
    shown = [row for row in shown if not row["setting"].startswith(("filter", "after"))]
    if not shown:
        raise ValueError(f"rows: none has {field}")
    fastest: float = min(row["p50_ms"] for row in shown) / 1.3
    slowest: float = max(row["p50_ms"] for row in shown) * 1.3
    lowest: float = max(min(row[field] for row in shown) - 0.02, 0.0)

    def x(milliseconds: float) -> float:
        share: float = math.log(milliseconds / fastest) / math.log(slowest / fastest)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(recall: float) -> float:
        return _HEIGHT - _BOTTOM - (recall - lowest) / (1.0 - lowest) * (_HEIGHT - _BOTTOM - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><title>{escape(title)}</title><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" font-weight="bold" fill="#1f2933">{escape(title)}</text>',
    ]
    for tick in _ticks(fastest, slowest):
        parts.append(f'<path d="M{x(tick):.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#e4e7eb"/>')
        parts.append(_label(x(tick), _HEIGHT - _BOTTOM + 16, f"{tick:g}", "middle"))
    for step in range(5):
        value = lowest + (1.0 - lowest) * step / 4
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}" stroke="#e4e7eb"/>')
        parts.append(_label(_LEFT - 6, y(value) + 4, f"{value:.3f}", "end"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_label(middle, _HEIGHT - 12, "milliseconds a query, median, one thread", "middle"))
    parts.append(_label(_LEFT - 50, _TOP - 10, f"recall@{k} of exact MaxSim", "start"))
    for number, engine in enumerate(dict.fromkeys(row["engine"] for row in shown)):
        colour = _COLOURS[number % len(_COLOURS)]
        points = sorted((row["p50_ms"], row[field]) for row in shown if row["engine"] == engine)
        path = " ".join(f"{x(ms):.1f},{y(recall):.1f}" for ms, recall in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for ms, recall in points:
            note = f"{engine}: {ms:.2f} ms, {recall:.4f}"
            parts.append(
                f'<circle cx="{x(ms):.1f}" cy="{y(recall):.1f}" r="4" fill="{colour}"><title>{escape(note)}</title>'
                "</circle>"
            )
        line = _TOP + 18 * number
        parts.append(f'<circle cx="{_WIDTH - _RIGHT + 20}" cy="{line}" r="5" fill="{colour}"/>')
        parts.append(_label(_WIDTH - _RIGHT + 32, line + 4, engine, "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#52606d">{escape(text)}</text>'


def _ticks(fastest: float, slowest: float) -> list[float]:
    every = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
    return [tick for tick in every if fastest <= tick <= slowest]
