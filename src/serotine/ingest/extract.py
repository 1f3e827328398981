"""The text of a file that is one document, with its structure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from serotine.errors import InputFileError

# Metadata that a text begins with, unless it does so anyway.
_LEAD = ("title", "subtitle", "description", "summary", "abstract", "tags", "keywords", "categories")
_BEGINNING = 2000
_NOTHING: Mapping[str, int] = {}


class NoTextError(InputFileError):
    """A file that can be read has no text, or no records."""


@dataclass(frozen=True, slots=True)
class Section:
    """The text under one heading, on one page, or of one definition.

    Attributes:
        start: its first character.
        end: one past its last character.
        headings: from the outermost to its own.
        separate: whether it begins a passage even where it is short, as a page, a slide or a definition does.
    """

    start: int
    end: int
    headings: tuple[str, ...] = ()
    separate: bool = False


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the pages, slides, lines or the like of a text begin.

    Attributes:
        name: what they are, the key in the metadata of passages.
        offsets: the first character of each, ascending.
        values: the number of each, or its name.
    """

    name: str
    offsets: Sequence[int]
    values: Sequence[int | str]

    def between(self, start: int, end: int) -> dict[str, Any]:
        """Return metadata: the value at the first character, and as `last_...` that at the last, if it is another."""
        first, last = (max(bisect_right(self.offsets, offset) - 1, 0) for offset in (start, max(end - 1, start)))
        if not self.values:
            return {}
        if self.values[first] == self.values[last]:
            return {self.name: self.values[first]}
        return {self.name: self.values[first], f"last_{self.name}": self.values[last]}


@dataclass(frozen=True, slots=True)
class Extract:
    """The text read from a file.

    Attributes:
        text: the whole text; offsets count its characters.
        sections: in order, without overlap; only white space lies between them.
        metadata: of the whole file, such as its title.
        positions: the pages, slides, lines or the like that its passages name in their metadata.
        heading: the key of a passage's headings in its metadata, and what joins them.
        unread: how many images, attachments or the like the file has that are not read, by their name in the plural.
        problems: lines that may not be read as they were meant, and why.
    """

    text: str
    sections: tuple[Section, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    positions: tuple[Positions, ...] = ()
    heading: tuple[str, str] = ("heading", " > ")
    unread: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[tuple[int, str], ...] = ()

    def passage_metadata(self, start: int, end: int, headings: Sequence[str]) -> dict[str, Any]:
        """Return the metadata of the passage between two offsets: the file's, its offsets, headings and positions."""
        metadata: dict[str, Any] = {**self.metadata, "start": start, "end": end}
        if headings:
            key, separator = self.heading
            metadata[key] = separator.join(headings)
        for positions in self.positions:
            metadata.update(positions.between(start, end))
        return metadata


def plain(
    text: str,
    metadata: dict[str, Any],
    problems: tuple[tuple[int, str], ...] = (),
    unread: Mapping[str, int] = _NOTHING,
) -> Extract:
    """Return a text without structure as one section."""
    return Extract(text, (Section(0, len(text)),), metadata, problems=problems, unread=unread)


def with_lead(extract: Extract) -> Extract:
    """Return a text that begins with what its metadata say about it, so that searches find that too.

    That is its title, summary, tags and the like; what the beginning of the text has is left out. Where there is no
    text, they are the text, and that is a problem to report.
    """
    beginning = " ".join(extract.text[:_BEGINNING].split()).casefold()
    lines: dict[str, str] = {}
    for key in _LEAD:
        value = extract.metadata.get(key)
        items = value if isinstance(value, list) else [value]
        words = ", ".join(" ".join(str(item).split()) for item in items if isinstance(item, (str, int, float)))
        if words and words.casefold() not in beginning:
            lines[key] = f"{key}: {words}" if isinstance(value, list) else words
    if not lines:
        return extract
    lead = "\n".join(lines.values())
    if not beginning:
        reason = (
            f"has no text but in its metadata, and is found by its {', '.join(lines)} only; check that it is complete"
        )
        return plain(lead, extract.metadata, (*extract.problems, (1, reason)), extract.unread)
    lead += "\n\n"
    first = next(i for i, section in enumerate(extract.sections) if extract.text[section.start : section.end].strip())
    moved = [
        replace(section, start=section.start + len(lead) if i else 0, end=section.end + len(lead))
        for i, section in enumerate(extract.sections[first:])
    ]
    positions = tuple(
        replace(each, offsets=[offset + len(lead) for offset in each.offsets]) for each in extract.positions
    )
    return replace(extract, text=lead + extract.text, sections=tuple(moved), positions=positions)


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
