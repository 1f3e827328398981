"""The tool `search`: passages for a question, cut to what the asker has room for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from serotine.errors import EncoderError, UnknownIdError
from serotine.index import Hit, Index, word_spans
from serotine.serving.mcp.counting import as_json, count_tokens
from serotine.serving.mcp.cutting import Cut, Span, around, cost, share
from serotine.serving.mcp.messages import Found, SearchAnswer, SearchArguments
from serotine.serving.mcp.metadata import within
from serotine.serving.mcp.served import Served

# A passage of fewer tokens than this says too little to be worth its heading.
_LEAST = 48
_METADATA = 64
# What an answer holds beside its passages: the note, and the names of the fields.
_ENVELOPE = 90


@dataclass(frozen=True)
class _Candidate:
    """A hit, what asking it costs, and how to cut it; nothing is computed before it is needed."""

    name: str
    index: Index
    hit: Hit
    asked: SearchArguments
    several: bool

    @cached_property
    def heading(self) -> int:
        empty = self.found(Cut(0, 0, 0))
        return max(count_tokens(as_json(empty.model_dump())), count_tokens(_block(99, empty, several=self.several))) + 2

    @cached_property
    def need(self) -> int:
        return cost(self.hit.text or "")

    @cached_property
    def spans(self) -> list[Span]:
        text = self.hit.text or ""
        if self.asked.mode == "bm25":
            return word_spans(self.asked.query, text)
        try:
            return self.index.explain(self.asked.query, self.hit.id).spans()
        except (UnknownIdError, EncoderError):
            # Deleted by another process since, or added with vectors whose tokens are not known: what was found
            # stands, cut to its beginning.
            return []

    def cut(self, most: int) -> Cut:
        text = self.hit.text or ""
        if self.need <= most:
            return Cut(0, len(text), self.need)
        return around(text, self.spans, most)

    def found(self, cut: Cut) -> Found:
        hit, text = self.hit, self.hit.text or ""
        shown = text[cut.start : cut.end]
        start = cut.start + len(shown) - len(shown.lstrip())
        shown = shown.strip()
        metadata, left_out = within(hit.metadata, _METADATA)
        return Found(
            index=self.name,
            id=hit.id,
            score=round(hit.score, 4) if math.isfinite(hit.score) else None,
            text=None if hit.text is None else shown,
            start=start,
            end=start + len(shown),
            characters=len(text),
            metadata=metadata,
            metadata_left_out=left_out,
        )


@dataclass
class _Draft:
    """What an answer will hold."""

    hits: list[Found] = field(default_factory=list)
    cut: int = 0
    left_out: int = 0


def search(served: Served, asked: SearchArguments) -> tuple[SearchAnswer, str]:
    """The answer, as structured output and as text, each within ``asked.max_tokens``."""
    chosen = served.chosen(asked.index)
    candidates = _candidates(chosen, asked)
    room = asked.max_tokens
    while True:
        draft = _drafted(candidates, room - _ENVELOPE)
        note = _note(draft, chosen, asked)
        answer = SearchAnswer(hits=draft.hits, cut=draft.cut, left_out=draft.left_out, note=note)
        text = _text(answer, several=len(chosen) > 1)
        over = max(count_tokens(text), count_tokens(as_json(answer.model_dump()))) - asked.max_tokens
        if over <= 0 or not draft.hits:
            return answer, text
        # Pieces were counted one by one; together they came to a little more.
        room -= over


def _candidates(chosen: Mapping[str, Index], asked: SearchArguments) -> list[_Candidate]:
    """The hits of every index, best first."""
    several = len(chosen) > 1
    ranked: list[tuple[int, float, _Candidate]] = []
    for name, index in chosen.items():
        hits = index.search(asked.query, asked.k, where=asked.where, mode=asked.mode)
        ranked += [(rank, hit.score, _Candidate(name, index, hit, asked, several)) for rank, hit in enumerate(hits)]
    if several and asked.mode == "late" and len({index.stats().encoder for index in chosen.values()}) == 1:
        # One encoder: MaxSim means the same everywhere.
        ranked.sort(key=lambda each: -each[1])
    else:
        ranked.sort(key=lambda each: each[0])
    return [candidate for _, _, candidate in ranked[: asked.k]]


def _drafted(candidates: Sequence[_Candidate], room: int) -> _Draft:
    """The first so many candidates that `room` tokens hold."""
    for count in range(len(candidates), 0, -1):
        taken = candidates[:count]
        budget = room - sum(candidate.heading for candidate in taken)
        parts = share([candidate.need for candidate in taken], budget, _LEAST) if budget >= 0 else None
        if parts is None:
            continue
        cuts = [candidate.cut(part) for candidate, part in zip(taken, parts, strict=True)]
        hits = [candidate.found(cut) for candidate, cut in zip(taken, cuts, strict=True)]
        shortened = sum(
            cut.end - cut.start < len(candidate.hit.text or "") for candidate, cut in zip(taken, cuts, strict=True)
        )
        return _Draft(hits, shortened, len(candidates) - count)
    return _Draft(left_out=len(candidates))


def _note(draft: _Draft, chosen: Mapping[str, Index], asked: SearchArguments) -> str:
    count = len(draft.hits)
    if not count and draft.left_out:
        return (
            f"{_passages(draft.left_out)} found, but not one has room in {asked.max_tokens:,} tokens; raise max_tokens."
        )
    if not count:
        if not any(len(index) for index in chosen.values()):
            return "Nothing is indexed yet."
        if asked.where is not None:
            return "No passage passes the filter; list tells the fields and values there are."
        return "No passage shares a word with the query; ask with mode late or hybrid."
    told = f"{_passages(count)}, best first"
    if not draft.cut and not draft.left_out:
        return f"{told}."
    what = [f"{draft.cut} cut to the best sentences"] * bool(draft.cut) + [f"{draft.left_out} more left out"] * bool(
        draft.left_out
    )
    return (
        f"{told}; {', '.join(what)} to stay within {asked.max_tokens:,} tokens: "
        "expand an id to read it whole, or raise max_tokens."
    )


def _passages(count: int) -> str:
    return f"{count} passage{'' if count == 1 else 's'}"


def _text(answer: SearchAnswer, *, several: bool) -> str:
    blocks = [_block(rank, hit, several=several) for rank, hit in enumerate(answer.hits, 1)]
    return "\n\n".join([answer.note, *blocks])


def _block(rank: int, hit: Found, *, several: bool) -> str:
    heading = f"{rank}. {hit.id}"
    if several:
        heading += f" in {hit.index}"
    if hit.score is not None:
        heading += f" ({hit.score:.3f})"
    if hit.metadata:
        heading += f" {as_json(hit.metadata)}"
    if hit.text is None:
        return f"{heading}\n(added as vectors, without a text)"
    before, after = "… " if hit.start else "", " …" if hit.end < hit.characters else ""
    return f"{heading}\n{before}{hit.text}{after}"
