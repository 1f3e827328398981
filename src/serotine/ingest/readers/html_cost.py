"""What parsing a page would cost: the algorithm of HTML takes quadratic time, and memory, for some pages."""

from __future__ import annotations

import re
from collections import Counter

from serotine.errors import InputFileError
from serotine.ingest.limits import reading_limits

_VALUE = r"""(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)"""
# As the tokenizer of HTML ends a tag: "=" begins a value only after a name, and ">" in quotes is text.
_REST_OF_TAG = rf"(?:[\s/]++=?+|[^\s/>=]++|=\s*+{_VALUE}?+)*+"
_COMMENT = r"<!--(?:-?>|(?:[^-]++|-(?!-!?>))*+)|<(?:!(?!\[CDATA\[)|\?|/(?![a-zA-Z]))[^>]*+"
_MARKUP = re.compile(rf"{_COMMENT}|<(/?)([a-zA-Z][^\s/>]*+)({_REST_OF_TAG})|(<!\[CDATA\[)")
_ATTRIBUTE = re.compile(rf"=?+[^\s/>=]++(?:\s*+=\s*+{_VALUE}?+)?+")
_RAW = frozenset(("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp"))
_RAW_ENDS = {tag: re.compile(rf"</{tag}(?=[\s/>])", re.IGNORECASE) for tag in _RAW}
# Elements that have no end, or whose end the next of them implies.
_WITHOUT_END = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track"),
        *("wbr", "body", "colgroup", "dd", "dt", "head", "html", "li", "optgroup", "option", "p", "rp", "rt"),
        *("tbody", "td", "tfoot", "th", "thead", "tr"),
    )
)
# What is left open of these is opened again in every later paragraph, at most three alike.
_FORMATS = frozenset(("b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"))
_MAX_ALIKE = 3
# Elements of HTML that end a drawing or a formula.
_BREAKOUT = _FORMATS | _WITHOUT_END | {"blockquote", "center", "div", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "ol"}
_BREAKOUT |= {"menu", "pre", "ruby", "span", "sub", "sup", "table", "ul", "var"}
_CELLS = frozenset(("td", "th"))
_ROWS = _CELLS | {"tr", "table", "tbody"}
# In these, a cell may be none.
_NO_CELLS = ("svg", "math", "template", "select")
# Shorter tags have few attributes.
_LONG_TAG = 2_000
_MAX_ATTRIBUTES = 1_000
# Levels and open formats of usual pages, whose cost is no more than proportional to the page.
_FREE_LEVELS, _FREE_FORMATS = 200, 20
# About a second of the parser's time, and a few hundred megabytes of nodes.
_MAX_STEPS, _MAX_NODES = 300_000_000, 3_000_000


def check_cost(source: str, name: str) -> None:
    """Raise InputFileError for a page that would take more than time and memory proportional to its length.

    It counts what a page leaves open, and never less than the parser does: where the two may differ, such as in
    a drawing's CDATA, only beginnings count.
    """
    open_elements: Counter[str] = Counter()
    formats: dict[str, list[str]] = {tag: [] for tag in _FORMATS}
    # What was opened since a cell began, which the next cell or its end closes.
    in_cell: Counter[str] | None = None
    depth = open_formats = steps = nodes = unsure_until = position = tags = 0
    most = reading_limits().values
    while (markup := _MARKUP.search(source, position)) is not None:
        position = markup.end()
        tags += 1
        if tags > most:
            raise InputFileError(f"{name}: more than {most:,} tags and comments; split it")
        closing, tag, rest, cdata = markup.groups()
        if tag is None:
            if cdata and (end := source.find("]]>", position)) > unsure_until:
                unsure_until = end
            continue
        tag = tag.lower()
        if tag in _ROWS and markup.start() >= unsure_until:
            is_cell = bool(open_elements["table"]) and not any(open_elements[element] for element in _NO_CELLS)
            ended = in_cell if in_cell is not None and is_cell and tag != "table" else Counter[str]()
            for element, count in ended.items():
                open_elements[element] -= count
                depth -= count
                if element in formats:
                    closed = min(count, len(formats[element]))
                    del formats[element][len(formats[element]) - closed :]
                    open_formats -= closed
            in_cell = Counter() if is_cell and tag in _CELLS and not closing else None
        if closing:
            if in_cell and in_cell[tag]:
                in_cell[tag] -= 1
            if open_elements[tag] and markup.start() >= unsure_until:
                open_elements[tag] -= 1
                depth -= 1
                if formats.get(tag):
                    formats[tag].pop()
                    open_formats -= 1
            continue
        if len(rest) > _LONG_TAG and sum(1 for _ in _ATTRIBUTE.finditer(rest)) > _MAX_ATTRIBUTES:
            raise InputFileError(f"{name}: a tag {tag!r} has more than {_MAX_ATTRIBUTES:,} attributes; remove it")
        foreign = bool(open_elements["svg"] or open_elements["math"])
        if foreign and tag in _BREAKOUT:
            depth -= open_elements.pop("svg", 0) + open_elements.pop("math", 0)
            foreign = False
        if tag in _RAW and not foreign:
            end_tag = _RAW_ENDS[tag].search(source, position)
            position = len(source) if end_tag is None else end_tag.end()
        elif tag not in _WITHOUT_END and not (foreign and rest.endswith("/")):
            open_elements[tag] += 1
            depth += 1
            if in_cell is not None:
                in_cell[tag] += 1
            if tag in formats and formats[tag].count(rest) < _MAX_ALIKE:
                formats[tag].append(rest)
                open_formats += 1
        steps += max(depth - _FREE_LEVELS, 0)
        nodes += max(open_formats - _FREE_FORMATS, 0)
        if steps > _MAX_STEPS or nodes > _MAX_NODES:
            raise InputFileError(
                f"{name}: too many elements are left open, or nested, to parse it, got {depth:,}; close them"
            )
