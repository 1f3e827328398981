"""The text of a file that is one document, with its structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """The text under one heading, or on one page.

    Attributes:
        start: its first character.
        end: one past its last character.
        headings: from the outermost to its own.
        page: from 1, where the file has pages.
    """

    start: int
    end: int
    headings: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Extract:
    """The text read from a file.

    Attributes:
        text: the whole text; offsets count its characters.
        sections: in order, without overlap; only white space lies between them.
        metadata: of the whole file, such as its title.
    """

    text: str
    sections: tuple[Section, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


def plain(text: str, metadata: dict[str, Any]) -> Extract:
    """Return a text without structure as one section."""
    return Extract(text, (Section(0, len(text)),), metadata)


def sections(length: int, headings: Sequence[tuple[int, int, str]]) -> tuple[Section, ...]:
    """Return the sections of a text of `length` characters, given its headings as (offset, level from 1, text)."""
    split: list[Section] = []
    if not headings or headings[0][0] > 0:
        split.append(Section(0, headings[0][0] if headings else length))
    path: list[tuple[int, str]] = []
    for i, (offset, level, title) in enumerate(headings):
        path = [*((outer, text) for outer, text in path if outer < level), (level, title)]
        end = headings[i + 1][0] if i + 1 < len(headings) else length
        split.append(Section(offset, end, tuple(text for _, text in path if text)))
    return tuple(split)


def encoding_metadata(encoding: str) -> dict[str, Any]:
    """Return metadata with an encoding other than UTF-8, so that a wrong guess is visible."""
    return {} if encoding.startswith("utf-8") else {"encoding": encoding}
