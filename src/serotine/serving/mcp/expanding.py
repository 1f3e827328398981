"""The tool `expand`: a passage whole, and what stands around it in its file."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from serotine.errors import UnknownIdError
from serotine.index import Hit, Index
from serotine.serving.mcp.counting import as_json, count_tokens
from serotine.serving.mcp.cutting import cost, from_here
from serotine.serving.mcp.messages import ExpandAnswer, ExpandArguments, Passage
from serotine.serving.mcp.metadata import within
from serotine.serving.mcp.served import Served

# How `serotine index` names the passages of a file.
_OF_A_FILE = re.compile(r"(?P<file>.+)#(?P<number>\d+)", re.DOTALL)
_METADATA = 200
_ENVELOPE = 90


def expand(served: Served, asked: ExpandArguments) -> tuple[ExpandAnswer, str]:
    """The answer, as structured output and as text, each within ``asked.max_tokens``.

    Raises:
        UnknownIdError: no index holds the id.
        ValueError: `offset` lies beyond the passage.
    """
    name, index = served.holding(asked.id, asked.index)
    hit = index.get([asked.id])[0]
    if asked.offset and asked.offset >= len(hit.text or ""):
        raise ValueError(
            f"offset: {asked.offset:,} is beyond the passage, which has {len(hit.text or ''):,} characters"
        )
    around = _neighbours(index, hit, asked.neighbours)
    room = asked.max_tokens
    while True:
        answer = _drafted(name, hit, around, asked, room - _ENVELOPE)
        text = _text(answer)
        over = max(count_tokens(text), count_tokens(as_json(answer.model_dump()))) - asked.max_tokens
        if over <= 0 or room < _ENVELOPE:
            return answer, text
        room -= over


def _neighbours(index: Index, hit: Hit, count: int) -> list[tuple[int, Hit]]:
    """Passages of the same file with their distance, -1 the one before; nearest first."""
    match = _OF_A_FILE.fullmatch(hit.id)
    if match is None or "source" not in hit.metadata:
        return []
    number = int(match["number"])
    found = []
    for distance in (step * sign for step in range(1, count + 1) for sign in (1, -1)):
        if number + distance < 0:
            continue
        try:
            other = index.get([f"{match['file']}#{number + distance}"])[0]
        except UnknownIdError:
            continue
        if other.metadata.get("source") == hit.metadata["source"]:
            found.append((distance, other))
    return found


def _drafted(name: str, hit: Hit, around: list[tuple[int, Hit]], asked: ExpandArguments, room: int) -> ExpandAnswer:
    text = hit.text or ""
    own = _passage(hit, asked.offset, asked.offset)
    room -= _heading(own)
    cut = from_here(text, asked.offset, max(room, 0))
    room -= cut.tokens
    finished = cut.end == len(text)
    kept, left_out = [(0, _passage(hit, cut.start, cut.end))], []
    blocked = set()
    for distance, other in around:
        side = distance > 0
        shown = _passage(other, 0, len(other.text or ""))
        spent = _heading(_passage(other, 0, 0)) + cost(shown.text or "")
        # A gap would read as if nothing were missing.
        if not finished or side in blocked or spent > room:
            blocked.add(side)
            left_out.append(other.id)
            room -= count_tokens(as_json(other.id)) + 2
            continue
        room -= spent
        kept.append((distance, shown))
    passages = [passage for _, passage in sorted(kept, key=lambda each: each[0])]
    _part(passages)
    return ExpandAnswer(
        index=name,
        passages=passages,
        next_offset=None if finished else cut.end,
        left_out=left_out,
        note=_note(hit, asked, around, left_out, cut.end, finished=finished),
    )


def _note(hit: Hit, asked: ExpandArguments, around: list[Any], left_out: list[str], end: int, *, finished: bool) -> str:
    told = []
    if hit.text is None:
        told.append("It was added as vectors, without a text.")
    elif not finished:
        told.append(
            f"Given up to character {end:,} of {len(hit.text):,}, to stay within {asked.max_tokens:,} tokens: "
            f"go on with offset {end}."
            if end > asked.offset
            else f"Nothing of it has room in {asked.max_tokens:,} tokens; raise max_tokens."
        )
    if left_out:
        told.append(f"{len(left_out)} neighbour{'' if len(left_out) == 1 else 's'} left out for want of room.")
    if asked.neighbours and not around:
        told.append("It has no neighbours: it is all there is of its file, or was not indexed from a file in pieces.")
    return " ".join(told) or "Whole."


def _passage(hit: Hit, start: int, end: int) -> Passage:
    metadata, left_out = within(hit.metadata, _METADATA)
    return Passage(
        id=hit.id,
        text=None if hit.text is None else hit.text[start:end],
        start=start,
        end=end,
        characters=len(hit.text or ""),
        metadata=metadata,
        metadata_left_out=left_out,
    )


def _part(passages: list[Passage]) -> None:
    """Takes from each passage what it shares with the one before it, where their places in the file prove it."""
    for before, after in pairwise(passages):
        last, first = before.metadata.get("end"), after.metadata.get("start")
        if type(last) is not int or type(first) is not int or before.end != before.characters:
            continue
        shared = last - first
        text = after.text or ""
        if 0 < shared < len(text) and before.text and before.text.endswith(text[:shared]):
            after.text, after.start = text[shared:], shared


def _heading(passage: Passage) -> int:
    empty = passage.model_copy(update={"text": "", "start": passage.characters, "end": passage.characters})
    return max(count_tokens(as_json(empty.model_dump())), count_tokens(_block(empty))) + 2


def _text(answer: ExpandAnswer) -> str:
    return "\n\n".join([answer.note, *(_block(passage) for passage in answer.passages)])


def _block(passage: Passage) -> str:
    heading = passage.id
    if passage.metadata:
        heading += f" {as_json(passage.metadata)}"
    return f"{heading}\n{passage.text or ''}"
