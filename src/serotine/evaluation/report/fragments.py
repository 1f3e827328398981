"""Data of a report's template: shaded texts, heatmaps, and settings that differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serotine.evaluation.comparison.alignment import Alignment
    from serotine.evaluation.comparison.changes import DocumentChange

# Characters shown of a document; encoders truncate long documents too, so matches are near the start.
_MAX_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Cell:
    """A similarity of a heatmap: its value, its shade, 0 to 1, and whether the query token chose it."""

    value: float
    shade: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its collections (empty for all), its value for each system, and whether the values differ."""

    name: str
    collections: str
    values: tuple[str, ...]
    differs: bool


def pieces(document: DocumentChange) -> list[tuple[str, float]]:
    """Split a document's text into pieces, with the share of the score, 0 to 1, of each."""
    text = document.text or ""
    shown = text[:_MAX_CHARACTERS]
    parts: list[tuple[str, float]] = []
    position = 0
    for start, end, share in document.alignment.shares if document.alignment else ():
        if start < position or end > len(shown):
            continue
        if start > position:
            parts.append((shown[position:start], 0.0))
        parts.append((shown[start:end], share))
        position = end
    rest = shown[position:]
    if len(text) > len(shown):
        rest += f" … ({len(text) - len(shown):,} more characters)"
    return [*parts, (rest, 0.0)] if rest else parts


def heatmap(alignment: Alignment) -> list[tuple[str, list[Cell]]]:
    """Return the rows of a heatmap: each query token with its similarities to the chosen passage tokens.

    Shades are scaled from the lowest similarity of the table, at least 0, to the highest, to show contrast.
    """
    values = [value for row in alignment.similarities for value in row]
    low, high = max(min(values, default=0.0), 0.0), max(values, default=1.0)
    spread = max(high - low, 1e-6)
    return [
        (
            token,
            [Cell(value, min(max((value - low) / spread, 0), 1), column == chosen) for column, value in enumerate(row)],
        )
        for token, row, chosen in zip(alignment.query_tokens, alignment.similarities, alignment.chosen, strict=True)
    ]


def settings(records: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Setting]:
    """Return the settings of all systems, those that differ first; collections with the same values share a row."""
    collections = list(next(iter(records.values()), ()))
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for collection in collections:
        for key in dict.fromkeys(key for by_collection in records.values() for key in by_collection[collection]):
            values = tuple(_format(by_collection[collection].get(key)) for by_collection in records.values())
            grouped.setdefault((key, values), []).append(collection)
    rows = [
        Setting(key, "" if len(names) == len(collections) else ", ".join(names), values, len(set(values)) > 1)
        for (key, values), names in grouped.items()
    ]
    return sorted(rows, key=lambda setting: not setting.differs)


def _format(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_format(item)}" for key, item in value.items()) or "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
