"""A text with structure, written block by block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serotine.ingest.extract import Extract, Positions, Section, sections
from serotine.ingest.limits import check_length

_BLOCK_SEPARATOR = "\n\n"


class TextWriter:
    """Writes the text of a document in order, and notes where its headings, pages, rows and the like begin.

    Args:
        name: the file's name in messages: its text is refused as soon as it is longer than the limit.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._texts: list[str] = []
        self._length = 0
        self._headings: list[tuple[int, int, str]] = []
        self._units: list[tuple[int, str]] = []
        self._positions: dict[str, tuple[list[int], list[int | str]]] = {}
        # What the next block begins.
        self._next_unit: str | None = None
        self._next_positions: dict[str, int | str] = {}

    def add(self, text: str, level: int | None = None, *, separator: str = _BLOCK_SEPARATOR) -> None:
        """Write a block after a separator; with a level it is a heading. A blank block is left out.

        Args:
            text: the block; white space at its ends is removed, but not before its first line.
            level: of the heading; 0 is above all others.
            separator: between it and the text before.
        """
        text = text.strip("\r\n").rstrip()
        if not text.strip():
            return
        if self._texts:
            self._write(separator)
        self._begin()
        if level is not None:
            self._headings.append((self._length, level, " ".join(text.split())))
        self._write(text)

    def position(self, name: str, value: int | str) -> None:
        """Note that the next block begins another page, row or the like."""
        self._next_positions[name] = value

    def unit(self, heading: str) -> None:
        """Note that the next block begins a unit that is a passage of its own, such as a slide, under a heading."""
        self._next_unit = heading

    def extract(self, metadata: Mapping[str, Any], unread: Mapping[str, int] | None = None) -> Extract:
        """Return the text; metadata without a value are left out."""
        text = "".join(self._texts)
        split = sections(len(text), self._headings)
        if self._units:
            starts = [offset for offset, _ in self._units]
            split = tuple(
                Section(offset, end, (heading,) if heading else (), separate=True)
                for (offset, heading), end in zip(self._units, [*starts[1:], len(text)], strict=True)
            )
        return Extract(
            text,
            split,
            {key: value for key, value in metadata.items() if value},
            tuple(Positions(name, *values) for name, values in self._positions.items()),
            unread={key: count for key, count in (unread or {}).items() if count},
        )

    def _begin(self) -> None:
        if self._next_unit is not None:
            self._units.append((self._length, self._next_unit))
            self._next_unit = None
        for name, value in self._next_positions.items():
            offsets, values = self._positions.setdefault(name, ([], []))
            offsets.append(self._length)
            values.append(value)
        self._next_positions.clear()

    def _write(self, text: str) -> None:
        self._texts.append(text)
        self._length += len(text)
        # Small files refer to a long text many times.
        check_length(self._length, self._name)
