"""Page headers and footers, which office documents store once for every kind of page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element


def distinct_margins(parts: Iterable[tuple[Element, str]]) -> Iterator[Element]:
    """Yield the page headers and footers to read: each text once, without those of numbers and signs alone.

    Args:
        parts: each header and footer, with its text on one line.
    """
    seen: set[str] = set()
    for part, text in parts:
        if text not in seen and any(map(str.isalpha, text)):
            yield part
        seen.add(text)
