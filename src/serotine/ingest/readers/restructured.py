"""reStructuredText: its source, split at its section titles."""

from __future__ import annotations

import re

from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, sections

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+\s*")
_FIELD = re.compile(r":(author|authors|date|title|language):[ \t]+(\S.*)", re.IGNORECASE)
_ROLE = re.compile(r":[\w:.+-]{1,64}:`([^`<]*+)(?:<[^`]*>)?`|``([^`]++)``|`([^`<]++)(?:<[^`]*>)?`_{0,2}")
# "..", as long as a title of two letters, begins a comment.
_MIN_ADORNMENT = 2
_NO_ADORNMENT = ("..", "::", "__")
# docutils takes a shorter line, below a longer title, for text.
_SHORT = 4
# Fields that describe a document are above its first section.
_FIELD_LINES = 40


def read_restructured(data: bytes, name: str) -> Extract:
    """Return the text of a .rst file with its section titles; the first is its title.

    Raises:
        InputFileError: it is not text.
    """
    text, encoding = decode(data, name)
    headings = _headings(text)
    metadata = {"title": headings[0][2]} if headings else {}
    for line in text.splitlines()[:_FIELD_LINES]:
        match = _FIELD.fullmatch(line.rstrip())
        if match is not None:
            metadata[match.group(1).lower().replace("authors", "author")] = match.group(2)
    split = sections(len(text), headings)
    return Extract(text, split, {**metadata, **encoding.metadata}, problems=encoding.problems)


def _headings(text: str) -> list[tuple[int, int, str]]:
    """Return the section titles as (offset, level, text); levels follow the order in which their lines appear."""
    lines = [match for match in _LINE.finditer(text) if match.group()]
    contents = [match.group().rstrip() for match in lines]
    styles: list[str] = []
    headings = []
    for i in range(1, len(contents)):
        title, under = contents[i - 1], contents[i]
        over = contents[i - 2] if i > 1 else ""
        overlined = over == under and _is_adornment(over)
        if not _is_adornment(under) or not title.strip() or _is_adornment(title):
            continue
        # Without a line above, a title begins a line after a blank one, and is no longer than the line below.
        plain = not title[0].isspace() and not over and len(under) >= min(len(title), _SHORT)
        if not (overlined or plain) or len(under) < len(title.strip()) - 1:
            continue
        style = under[0] * (2 if overlined else 1)
        if style not in styles:
            styles.append(style)
        first = lines[i - 2 if overlined else i - 1]
        headings.append((first.start(), styles.index(style) + 1, _plain(title)))
    return headings


def _is_adornment(line: str) -> bool:
    return len(line) >= _MIN_ADORNMENT and line not in _NO_ADORNMENT and _ADORNMENT.fullmatch(line) is not None


def _plain(title: str) -> str:
    """Return a title without the marks of roles, code and links."""
    return " ".join(_ROLE.sub(_shown, title).split())


def _shown(role: re.Match[str]) -> str:
    return next(text for text in role.groups() if text is not None).rstrip()
