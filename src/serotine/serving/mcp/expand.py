"""The tool `expand`: a whole passage, and its neighbors in the same file."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from serotine.errors import UnknownIdError
from serotine.excerpts import from_offset
from serotine.index import Hit, Index
from serotine.serving.mcp.indexes import ServedIndexes
from serotine.serving.mcp.metadata import fit_metadata
from serotine.serving.mcp.schemas import ExpandArguments, ExpandResult, Passage
from serotine.serving.mcp.token_count import as_json, count_tokens, count_tokens_sent

# How `serotine index` names the passages of a file.
_PASSAGE_ID = re.compile(r"(?P<file>.+)#(?P<number>\d+)", re.DOTALL)
_METADATA_TOKENS = 200
_ENVELOPE_TOKENS = 90


def expand(served: ServedIndexes, arguments: ExpandArguments) -> tuple[ExpandResult, str]:
    """Return the result as structured output and as text, each within ``arguments.max_tokens``.

    Raises:
        UnknownIdError: no index has the id.
        ValueError: `offset` lies beyond the passage.
    """
    name, index = served.find(arguments.id, arguments.index)
    hit = index.get([arguments.id])[0]
    if arguments.offset and arguments.offset >= len(hit.text or ""):
        raise ValueError(
            f"offset: must be below the passage's length {len(hit.text or ''):,}, got {arguments.offset:,}"
        )
    neighbors = _neighbors(index, hit, arguments.neighbors)
    budget = arguments.max_tokens
    while True:
        result = _draft(name, hit, neighbors, arguments, budget - _ENVELOPE_TOKENS)
        text = _as_text(result)
        excess = max(count_tokens(text), count_tokens(as_json(result.model_dump()))) - arguments.max_tokens
        if excess <= 0 or budget < _ENVELOPE_TOKENS:
            return result, text
        budget -= excess


def _neighbors(index: Index, hit: Hit, count: int) -> list[tuple[int, Hit]]:
    """Return passages of the same file with their distance, -1 the one before; nearest first."""
    match = _PASSAGE_ID.fullmatch(hit.id)
    if match is None or "source" not in hit.metadata:
        return []
    number = int(match["number"])
    neighbors = []
    for distance in (step * sign for step in range(1, count + 1) for sign in (1, -1)):
        if number + distance < 0:
            continue
        try:
            other = index.get([f"{match['file']}#{number + distance}"])[0]
        except UnknownIdError:
            continue
        if other.metadata.get("source") == hit.metadata["source"]:
            neighbors.append((distance, other))
    return neighbors


def _draft(
    name: str, hit: Hit, neighbors: list[tuple[int, Hit]], arguments: ExpandArguments, budget: int
) -> ExpandResult:
    text = hit.text or ""
    budget -= _heading_tokens(_passage(hit, arguments.offset, arguments.offset))
    excerpt = from_offset(text, arguments.offset, max(budget, 0), count_tokens_sent)
    budget -= excerpt.cost
    finished = excerpt.end == len(text)
    shown, left_out = [(0, _passage(hit, excerpt.start, excerpt.end))], []
    blocked = set()
    for distance, other in neighbors:
        side = distance > 0
        passage = _passage(other, 0, len(other.text or ""))
        cost = _heading_tokens(_passage(other, 0, 0)) + count_tokens_sent(passage.text or "")
        # After an omitted passage, farther ones would hide the gap.
        if not finished or side in blocked or cost > budget:
            blocked.add(side)
            left_out.append(other.id)
            budget -= count_tokens(as_json(other.id)) + 2
            continue
        budget -= cost
        shown.append((distance, passage))
    passages = [passage for _, passage in sorted(shown, key=lambda pair: pair[0])]
    _remove_overlaps(passages)
    return ExpandResult(
        index=name,
        passages=passages,
        next_offset=None if finished else excerpt.end,
        left_out=left_out,
        note=_note(hit, arguments, neighbors, left_out, excerpt.end, finished=finished),
    )


def _note(
    hit: Hit, arguments: ExpandArguments, neighbors: list[Any], left_out: list[str], end: int, *, finished: bool
) -> str:
    sentences = []
    if hit.text is None:
        sentences.append("It was added as vectors, without a text.")
    elif not finished:
        sentences.append(
            f"Complete up to character {end:,} of {len(hit.text):,}, to stay within {arguments.max_tokens:,} tokens; "
            f"continue with offset {end}."
            if end > arguments.offset
            else f"No text fits into {arguments.max_tokens:,} tokens; raise max_tokens."
        )
    if left_out:
        sentences.append(
            f"{len(left_out)} neighbor{'' if len(left_out) == 1 else 's'} omitted to stay within max_tokens."
        )
    if arguments.neighbors and not neighbors:
        sentences.append("It has no neighbors: it is all of its file, or was not cut from a file.")
    return " ".join(sentences) or "Complete."


def _passage(hit: Hit, start: int, end: int) -> Passage:
    metadata, left_out = fit_metadata(hit.metadata, _METADATA_TOKENS)
    return Passage(
        id=hit.id,
        text=None if hit.text is None else hit.text[start:end],
        start=start,
        end=end,
        characters=len(hit.text or ""),
        metadata=metadata,
        metadata_left_out=left_out,
    )


def _remove_overlaps(passages: list[Passage]) -> None:
    """Remove from each passage the text it shares with the previous one, where their positions in the file prove it."""
    for previous, passage in pairwise(passages):
        last, first = previous.metadata.get("end"), passage.metadata.get("start")
        if type(last) is not int or type(first) is not int or previous.end != previous.characters:
            continue
        overlap = last - first
        text = passage.text or ""
        if 0 < overlap < len(text) and previous.text and previous.text.endswith(text[:overlap]):
            passage.text, passage.start = text[overlap:], overlap


def _heading_tokens(passage: Passage) -> int:
    empty = passage.model_copy(update={"text": "", "start": passage.characters, "end": passage.characters})
    return max(count_tokens(as_json(empty.model_dump())), count_tokens(_block(empty))) + 2


def _as_text(result: ExpandResult) -> str:
    return "\n\n".join([result.note, *(_block(passage) for passage in result.passages)])


def _block(passage: Passage) -> str:
    heading = passage.id
    if passage.metadata:
        heading += f" {as_json(passage.metadata)}"
    return f"{heading}\n{passage.text or ''}"
