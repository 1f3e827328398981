"""What a report's template cannot say in a line: shaded texts, heatmaps, and settings that differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serotine.evaluation.comparison.alignment import Alignment
    from serotine.evaluation.comparison.changes import DocumentChange

# A longer document is cut: its matched tokens lie before, in what the encoder saw.
_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Cell:
    """One similarity: its value, how strongly it is shaded, 0 to 1, and whether the query token chose it."""

    value: float
    shade: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: where it is so (nothing said: everywhere), its value for each system, and whether these differ."""

    name: str
    collections: str
    values: tuple[str, ...]
    differs: bool


def pieces(document: DocumentChange) -> list[tuple[str, float]]:
    """A document's text, cut up: each piece with its share of the score, 0 to 1."""
    text = document.text or ""
    shown = text[:_LONGEST]
    found: list[tuple[str, float]] = []
    at = 0
    for start, end, share in document.alignment.shares if document.alignment else ():
        if start < at or end > len(shown):
            continue
        if start > at:
            found.append((shown[at:start], 0.0))
        found.append((shown[start:end], share))
        at = end
    rest = shown[at:]
    if len(text) > len(shown):
        rest += f" … ({len(text) - len(shown):,} more characters)"
    return [*found, (rest, 0.0)] if rest else found


def heatmap(alignment: Alignment) -> list[tuple[str, list[Cell]]]:
    """Rows of a heatmap: each query token with its similarity to every passage token that was chosen.

    Shades run from the lowest similarity of the table, or 0, to the highest: what matters is which stands out.
    """
    values = [value for row in alignment.similarities for value in row]
    low, high = max(min(values, default=0.0), 0.0), max(values, default=1.0)
    spread = max(high - low, 1e-6)
    return [
        (
            token,
            [Cell(value, min(max((value - low) / spread, 0), 1), place == chosen) for place, value in enumerate(row)],
        )
        for token, row, chosen in zip(alignment.query_tokens, alignment.similarities, alignment.chosen, strict=True)
    ]


def settings(records: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Setting]:
    """How the numbers were made, what differs first: collections where a setting is the same share a line."""
    collections = list(next(iter(records.values()), ()))
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for collection in collections:
        for key in dict.fromkeys(key for own in records.values() for key in own[collection]):
            values = tuple(_said(own[collection].get(key)) for own in records.values())
            found.setdefault((key, values), []).append(collection)
    listed = [
        Setting(key, "" if len(where) == len(collections) else ", ".join(where), values, len(set(values)) > 1)
        for (key, values), where in found.items()
    ]
    return sorted(listed, key=lambda setting: not setting.differs)


def _said(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_said(each)}" for key, each in value.items()) or "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
