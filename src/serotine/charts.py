"""Parts of an SVG chart that all charts of Serotine share: axes, marks, lines and legends.

Colors are CSS variables with fallbacks: a standalone file is drawn on white; a page that sets the variables, as a
report does in dark mode, recolors the chart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

_PALETTE = ("#e4572e", "#2e86ab", "#d18f00", "#5b8def", "#6a994e", "#8d5a97", "#7b8794", "#3d405b")
_TICKS = 6

Shape = Literal["circle", "square", "triangle", "diamond"]
SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "diamond")


def series_color(number: int) -> str:
    """Return the CSS color of a series; the palette repeats."""
    number %= len(_PALETTE)
    return f"var(--series-{number}, {_PALETTE[number]})"


@dataclass(frozen=True, slots=True)
class Axis:
    """The range of one axis, `low` < `high`; both above 0 on a logarithmic axis."""

    label: str
    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, label: str, values: Iterable[float], *, margin: float = 1.3) -> Axis:
        """Return a logarithmic axis with a margin around positive values."""
        numbers = list(values)
        return cls(label, min(numbers) / margin, max(numbers) * margin, logarithmic=True)

    def share(self, value: float) -> float:
        """Return the relative position of a value: 0 at `low`, 1 at `high`."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return round values between `low` and `high`."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            candidates = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
            return [tick for tick in candidates if self.low <= tick <= self.high]
        min_step = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(min_step))
        step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= min_step)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        # Rounded: 3 * 0.1 is not 0.3.
        return [round(number * step, 12) for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a chart; `title` is its tooltip."""

    x: float
    y: float
    color: str
    title: str
    shape: Shape = "circle"
    radius: float = 4.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot area with two axes, from `left` to `right` and `top` to `bottom` of the drawing."""

    left: float
    top: float
    right: float
    bottom: float
    x: Axis
    y: Axis

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of two values in the drawing."""
        return (
            self.left + self.x.share(x) * (self.right - self.left),
            self.bottom - self.y.share(y) * (self.bottom - self.top),
        )

    def axes(self) -> list[str]:
        """Draw the grid, ticks and labels."""
        elements = []
        for tick in self.x.ticks():
            x, _ = self.place(tick, self.y.low)
            elements.append(_rule(f"M{x:.1f} {self.top}V{self.bottom}"))
            elements.append(text(x, self.bottom + 16, f"{tick:g}", anchor="middle"))
        for tick in self.y.ticks():
            _, y = self.place(self.x.low, tick)
            elements.append(_rule(f"M{self.left} {y:.1f}H{self.right}"))
            elements.append(text(self.left - 6, y + 4, f"{tick:g}", anchor="end"))
        elements.append(text((self.left + self.right) / 2, self.bottom + 36, self.x.label, anchor="middle"))
        elements.append(text(self.left - 34, self.top - 12, self.y.label))
        return elements

    def line(self, points: Sequence[tuple[float, float]], stroke: str, *, dashed: bool = False) -> str:
        """Draw a line through points in their order."""
        path = " ".join("{:.1f},{:.1f}".format(*self.place(x, y)) for x, y in points)
        dash = ";stroke-dasharray:4 4" if dashed else ""
        return f'<polyline points="{path}" style="fill:none;stroke:{stroke};stroke-width:1.5{dash}"/>'

    def mark(self, mark: Mark) -> str:
        """Draw a point with its tooltip."""
        x, y = self.place(mark.x, mark.y)
        style = f"fill:{mark.color};fill-opacity:{mark.opacity:g}"
        return symbol(x, y, mark.shape, mark.radius, style, mark.title)


def symbol(x: float, y: float, shape: Shape, radius: float, style: str, title: str = "") -> str:
    """Draw a shape centered at a position; shapes of one radius have about the same area."""
    tooltip = f"<title>{escape(title)}</title>" if title else ""
    r = radius
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" style="{style}">{tooltip}</circle>'
    if shape == "square":
        r *= 0.9
        path = f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}Z"
    elif shape == "triangle":
        r *= 1.3
        path = f"M{x:.1f} {y - r:.1f}L{x + r * 0.87:.1f} {y + r / 2:.1f}H{x - r * 0.87:.1f}Z"
    else:
        r *= 1.25
        path = f"M{x:.1f} {y - r:.1f}L{x + r:.1f} {y:.1f}L{x:.1f} {y + r:.1f}L{x - r:.1f} {y:.1f}Z"
    return f'<path d="{path}" style="{style}">{tooltip}</path>'


def text(x: float, y: float, content: str, *, anchor: str = "start", strong: bool = False) -> str:
    """Draw text at a position."""
    ink = "var(--chart-ink, #1f2933)" if strong else "var(--chart-label, #52606d)"
    weight = ";font-weight:bold" if strong else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill:{ink}{weight}">{escape(content)}</text>'


def legend(x: float, y: float, entries: Iterable[tuple[str, str, Shape]]) -> list[str]:
    """Draw one line for each (name, color, shape), from top to bottom."""
    elements = []
    for number, (name, fill, shape) in enumerate(entries):
        y_line = y + 18 * number
        elements.append(symbol(x, y_line, shape, 5, f"fill:{fill}"))
        elements.append(text(x + 12, y_line + 4, name))
    return elements


def drawing(width: float, height: float, title: str, elements: Iterable[str], *, heading: bool = True) -> str:
    """Return the whole SVG document; its title is also drawn above the chart if `heading` is true."""
    head = [text(20, 24, title, strong=True).replace("<text ", '<text font-size="15" ', 1)] if heading else []
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
            f'<rect width="{width:g}" height="{height:g}" style="fill:var(--chart, #ffffff)"/>',
            *head,
            *elements,
            "</svg>\n",
        ]
    )


def _rule(path: str) -> str:
    return f'<path d="{path}" style="stroke:var(--chart-grid, #e4e7eb)"/>'
