"""The chart of a report's languages: one row per language, one mark per system."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from serotine.charts import Axis, Mark, Panel, Shape, drawing, legend, series_color, text

if TYPE_CHECKING:
    from serotine.evaluation.comparison.by_language import LanguageTable

_ROW = 24
_LEFT, _TOP, _WIDTH = 130, 30, 470


def language_chart(table: LanguageTable) -> str:
    """Return an SVG of every system's figure in every language; published figures are squares."""
    rows = len(table.languages)
    values = [value * 100 for figures in table.means.values() for value in figures.values()]
    values += [value * 100 for figures in table.references.values() for value in figures.values()]
    low = max(min(values) - 5, 0.0)
    high = min(max(values) + 5, 100.0)
    # Without ticks of its own: a row is a language.
    axis = Axis(f"{table.metric}, in percent", low, high if high > low else low + 1)
    panel = Panel(_LEFT, _TOP, _LEFT + _WIDTH, _TOP + _ROW * rows, axis, Axis("", 0, rows))
    elements = panel.axes()[: 2 * len(axis.ticks())]
    elements.append(text(_LEFT + _WIDTH / 2, _TOP + _ROW * rows + 36, axis.label, anchor="middle"))
    names = [*table.means, *table.references]
    for row, (code, language) in enumerate(table.languages.items()):
        y = rows - row - 0.5
        elements.append(text(_LEFT - 10, panel.place(low, y)[1] + 4, f"{language} ({code})", anchor="end"))
        for number, (system, figures) in enumerate(chain(table.means.items(), table.references.items())):
            if code in figures:
                value = figures[code] * 100
                title = f"{system}, {language}: {value:.1f}"
                elements.append(
                    panel.mark(Mark(value, y, series_color(number), title, _shape(system, table), opacity=0.8))
                )
    entries = ((name, series_color(number), _shape(name, table)) for number, name in enumerate(names))
    elements += legend(_LEFT + _WIDTH + 24, _TOP + 10, entries)
    height = _TOP + max(_ROW * rows, 18 * len(names)) + 50
    return drawing(_LEFT + _WIDTH + 230, height, f"{table.metric} by language", elements, heading=False)


def _shape(system: str, table: LanguageTable) -> Shape:
    return "square" if system in table.references else "circle"
