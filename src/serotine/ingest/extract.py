"""The text of a file that is one document, with its structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of text under one heading, or on one page.

    Attributes:
        start: its first character.
        end: one past its last.
        headings: from the outermost to its own.
        page: from 1, where the file has pages.
    """

    start: int
    end: int
    headings: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Extract:
    """What was read from a file.

    Attributes:
        text: all of it; places are counted in its characters.
        sections: in order, not overlapping; what lies between them is only white space.
        metadata: of the file as a whole, such as its title.
    """

    text: str
    sections: tuple[Section, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


def plain(text: str, metadata: dict[str, Any]) -> Extract:
    """A text without structure."""
    return Extract(text, (Section(0, len(text)),), metadata)


def sections(length: int, headings: Sequence[tuple[int, int, str]]) -> tuple[Section, ...]:
    """The sections of a text of `length` characters between its headings, each (place, level from 1, words)."""
    made = []
    if not headings or headings[0][0] > 0:
        made.append(Section(0, headings[0][0] if headings else length))
    above: list[tuple[int, str]] = []
    for i, (place, level, words) in enumerate(headings):
        above = [*(each for each in above if each[0] < level), (level, words)]
        end = headings[i + 1][0] if i + 1 < len(headings) else length
        made.append(Section(place, end, tuple(each for _, each in above if each)))
    return tuple(made)


def encoding_of(found: str) -> dict[str, Any]:
    """Metadata that tells of an encoding that was found rather than expected, so that a wrong guess can be seen."""
    return {} if found.startswith("utf-8") else {"encoding": found}
