"""Hits as tables: plain text for a terminal, HTML for a notebook."""

from __future__ import annotations

import html
import math
import textwrap
import unicodedata
from typing import TYPE_CHECKING

from serotine.excerpts import Span, by_width, merge_spans
from serotine.texts import printable

if TYPE_CHECKING:
    from serotine.index.hits import Hit, Hits

_WIDTH = 96
_ID_WIDTH = 24
_MAX_SHOWN = 50
# Characters of a passage in a notebook, around its best matches.
_PASSAGE = 400
# Translucent, so that the words are readable on light and on dark pages.
_SHADE = "background:rgba(255,170,0,{alpha:.2f});color:inherit;border-radius:2px"
_CELL = "text-align:left;vertical-align:top;padding:4px 12px 4px 0"


def one_line(hit: Hit) -> str:
    """Return a hit on one line of at most 96 columns."""
    # A document that was read by its id has no score.
    score = [] if math.isnan(hit.score) else [f"score={_score(hit)}"]
    parts = [_cut(repr(hit.id), 30), *score]
    metadata = _cut(repr(hit.metadata), 26) if hit.metadata else ""
    room = _WIDTH - len("Hit(, text=)") - sum(map(_columns, [*parts, metadata])) - 4
    parts.append(f"text={None if hit.text is None else _cut(repr(hit.text), max(room, 12))}")
    return f"Hit({', '.join([*parts, *([metadata] if metadata else [])])})"


def text_table(hits: Hits) -> str:
    """Return one line of at most 96 columns per hit, below a heading."""
    heading = _heading(hits)
    shown = hits.items[:_MAX_SHOWN]
    id_width = min(max((_columns(printable(hit.id)) for hit in shown), default=0), _ID_WIDTH)
    lines = [_cut(heading, _WIDTH)]
    for rank, hit in enumerate(shown, 1):
        id_ = _padded(_cut(printable(hit.id), id_width), id_width)
        start = f"{rank:>3} {_score(hit):>9}  {id_}  "
        text = "(no text)" if hit.text is None else " ".join(printable(hit.text).split())
        lines.append(f"{start}{_cut(text, _WIDTH - _columns(start))}".rstrip())
    if len(hits) > len(shown):
        lines.append(f"    and {len(hits) - len(shown):,} more")
    warnings = [f"warning: {printable(str(warning))}" for warning in hits.warnings]
    lines += [line for warning in warnings for line in textwrap.wrap(warning, _WIDTH)]
    return "\n".join(lines)


def html_table(hits: Hits) -> str:
    """Return an HTML table with the matched words shaded; everything from documents is escaped."""
    rows = []
    for position, hit in enumerate(hits.items[:_MAX_SHOWN]):
        passage = "<i>no text</i>" if hit.text is None else _shaded(hit.text, hits.spans(position))
        cells = (str(position + 1), _score(hit), html.escape(printable(hit.id)), passage)
        rows.append("".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells))
    headings = "".join(f'<th style="{_CELL}">{name}</th>' for name in ("", "score", "id", "text"))
    caption = _heading(hits)
    if len(hits) > _MAX_SHOWN:
        caption += f"; the first {_MAX_SHOWN} are shown"
    warnings = "".join(f"<p>warning: {html.escape(printable(str(warning)))}</p>" for warning in hits.warnings)
    return (
        f'<table><caption style="text-align:left">{html.escape(caption)}</caption>'
        f"<thead><tr>{headings}</tr></thead>"
        f"<tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>{warnings}"
    )


def html_hit(hit: Hit) -> str:
    """Return an HTML table of a hit's values; everything from documents is escaped."""
    values = {"id": hit.id}
    if not math.isnan(hit.score):
        values["score"] = _score(hit)
    if hit.score_per_token is not None:
        values["score per token"] = f"{hit.score_per_token:.3f}"
    values |= {name: str(value) for name, value in hit.metadata.items()}
    rows = [(html.escape(printable(name)), html.escape(printable(value))) for name, value in values.items()]
    rows.append(("text", "<i>no text</i>" if hit.text is None else _shaded(hit.text, [])))
    cells = "".join(f'<tr><th style="{_CELL}">{name}</th><td style="{_CELL}">{value}</td></tr>' for name, value in rows)
    return f"<table><tbody>{cells}</tbody></table>"


def _shaded(text: str, spans: list[Span]) -> str:
    excerpt = by_width(text, spans, _PASSAGE)
    pieces = ["… " if excerpt.start else ""]
    offset = excerpt.start
    for start, end, weight in merge_spans(spans):
        if start < excerpt.start or end > excerpt.end:
            continue
        shade = _SHADE.format(alpha=0.1 + 0.4 * weight)
        pieces.append(html.escape(text[offset:start]))
        pieces.append(f'<mark style="{shade}">{html.escape(text[start:end])}</mark>')
        offset = end
    pieces += [html.escape(text[offset : excerpt.end]), " …" if excerpt.end < len(text) else ""]
    return printable("".join(pieces))


def _heading(hits: Hits) -> str:
    count = f"{len(hits):,} hit{'' if len(hits) == 1 else 's'}"
    query = "" if hits.query is None else f" for {_cut(repr(hits.query), 60)}"
    below = f", {hits.stats.below_min_score:,} below min_score" if hits.stats.below_min_score else ""
    return f"{count}{query}{below}, plan {hits.stats.plan}"


def _score(hit: Hit) -> str:
    return f"{hit.score:.4g}"


def _columns(text: str) -> int:
    """Return the columns a terminal needs: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_column(character) for character in text)


def _column(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _cut(text: str, width: int) -> str:
    """Return the beginning of a text, at most `width` columns."""
    # A long text is not measured as a whole.
    text = text if len(text) <= 2 * width else f"{text[: 2 * width]} "
    if _columns(text) <= width and not text.endswith(" "):
        return text
    columns = 0
    for end, character in enumerate(text):
        columns += _column(character)
        if columns > width - 1:
            return f"{text[:end].rstrip()}…"
    return text.rstrip()
