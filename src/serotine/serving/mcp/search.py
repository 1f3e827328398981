"""The tool `search`: passages for a query, cut to a token budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from serotine.excerpts import Excerpt, Span, by_sentences
from serotine.index import Hit, Hits, Index, MergedHit, search_several
from serotine.serving.mcp.budget import share_budget
from serotine.serving.mcp.indexes import ServedIndexes
from serotine.serving.mcp.metadata import fit_metadata
from serotine.serving.mcp.schemas import PassageHit, SearchArguments, SearchResult
from serotine.serving.mcp.token_count import as_json, count_tokens, count_tokens_sent

# Fewer tokens of a passage are not worth its heading.
_MIN_PASSAGE_TOKENS = 48
_METADATA_TOKENS = 64
# The note and the field names of a result, besides its passages.
_ENVELOPE_TOKENS = 90


@dataclass(frozen=True)
class _Candidate:
    """A hit, its cost in tokens and its excerpts; computed on first use."""

    name: str
    hits: Hits
    merged: MergedHit
    several: bool

    @property
    def hit(self) -> Hit:
        return self.hits[self.merged.position]

    @cached_property
    def heading_tokens(self) -> int:
        empty = self.passage(Excerpt(0, 0, 0))
        block = _block(9999, empty, several=self.several)
        return max(count_tokens(as_json(empty.model_dump())), count_tokens(block)) + 2

    @cached_property
    def text_tokens(self) -> int:
        return count_tokens_sent(self.hit.text or "")

    @cached_property
    def spans(self) -> list[Span]:
        return self.hits.spans(self.merged.position)

    def excerpt(self, budget: int) -> Excerpt:
        text = self.hit.text or ""
        if self.text_tokens <= budget:
            return Excerpt(0, len(text), self.text_tokens)
        return by_sentences(text, self.spans, budget, count_tokens_sent)

    def passage(self, excerpt: Excerpt) -> PassageHit:
        hit, text, score = self.hit, self.hit.text or "", self.merged.score
        shown = text[excerpt.start : excerpt.end]
        start = excerpt.start + len(shown) - len(shown.lstrip())
        shown = shown.strip()
        metadata, left_out = fit_metadata(hit.metadata, _METADATA_TOKENS)
        return PassageHit(
            index=self.name,
            id=hit.id,
            score=_rounded(score),
            score_per_token=None if hit.score_per_token is None else round(hit.score_per_token, 4),
            other_passages=hit.other_passages,
            text=None if hit.text is None else shown,
            start=start,
            end=start + len(shown),
            characters=len(text),
            metadata=metadata,
            metadata_left_out=left_out,
        )


def _rounded(score: float) -> float | None:
    """Return a score with four decimals, or with one digit where these would be zeros; None if it is not finite."""
    return round(score, 4) or float(f"{score:.1g}") if math.isfinite(score) else None


@dataclass
class _Draft:
    """The content of a result, before its size is checked."""

    hits: list[PassageHit] = field(default_factory=list)
    cut: int = 0
    left_out: int = 0


def search(served: ServedIndexes, arguments: SearchArguments) -> tuple[SearchResult, str]:
    """Return the result as structured output and as text, each within ``arguments.max_tokens``."""
    indexes = served.select(arguments.index)
    candidates, below, warnings = _candidates(indexes, arguments)
    shows_maxsim = not any(candidate.hits.has_unknown_text for candidate in candidates)
    budget = arguments.max_tokens
    while True:
        draft = _draft(candidates, budget - _ENVELOPE_TOKENS)
        note = " ".join(
            [_note(draft, indexes, arguments, below), *(f"Warning: {_sentence(warning)}" for warning in warnings)]
        )
        result = SearchResult(hits=draft.hits, cut=draft.cut, left_out=draft.left_out, note=note)
        text = _as_text(result, arguments.offset, several=len(indexes) > 1, shows_maxsim=shows_maxsim)
        excess = max(count_tokens(text), count_tokens(as_json(result.model_dump()))) - arguments.max_tokens
        if excess <= 0 or not draft.hits:
            return result, text
        # Pieces counted separately cost slightly more together.
        budget -= excess


def _candidates(indexes: Mapping[str, Index], arguments: SearchArguments) -> tuple[list[_Candidate], int, list[str]]:
    """Return the hits of every index, best first, how many are below the lowest score, and warnings of the query."""
    several = len(indexes) > 1
    options = arguments.options()
    answer = search_several(list(indexes.values()), arguments.query, options)
    results = answer.results
    below = sum(hits.stats.below_min_score for hits in results)
    names = list(indexes)
    candidates = [_Candidate(names[hit.result], results[hit.result], hit, several) for hit in answer.merged]
    return candidates, below, list(map(str, answer.warnings))


def _draft(candidates: Sequence[_Candidate], budget: int) -> _Draft:
    """Return as many of the first candidates as fit into `budget` tokens."""
    for count in range(len(candidates), 0, -1):
        chosen = candidates[:count]
        text_budget = budget - sum(candidate.heading_tokens for candidate in chosen)
        if text_budget < 0:
            continue
        shares = share_budget([candidate.text_tokens for candidate in chosen], text_budget, _MIN_PASSAGE_TOKENS)
        if shares is None:
            continue
        excerpts = [candidate.excerpt(share) for candidate, share in zip(chosen, shares, strict=True)]
        hits = [candidate.passage(excerpt) for candidate, excerpt in zip(chosen, excerpts, strict=True)]
        cut = sum(
            excerpt.end - excerpt.start < len(candidate.hit.text or "")
            for candidate, excerpt in zip(chosen, excerpts, strict=True)
        )
        return _Draft(hits, cut, len(candidates) - count)
    return _Draft(left_out=len(candidates))


def _note(draft: _Draft, indexes: Mapping[str, Index], arguments: SearchArguments, below: int) -> str:
    count = len(draft.hits)
    if not count and draft.left_out:
        return (
            f"{_passages(draft.left_out)} found, but none fits into {arguments.max_tokens:,} tokens; raise max_tokens."
        )
    if not count:
        if not any(len(index) for index in indexes.values()):
            return "The index is empty."
        if below and arguments.offset:
            return (
                f"No passage after the first {arguments.offset:,} reaches min_score {arguments.min_score:g}; "
                "lower offset."
            )
        if below:
            return f"No passage reaches min_score {arguments.min_score:g}; {_passages(below)} below it."
        if arguments.offset:
            return f"No passage after the first {arguments.offset:,}; lower offset."
        if arguments.where is not None:
            return "No passage matches the filter; list shows the fields and their values."
        return "No passage shares a word with the query, except common ones; search with mode late or hybrid."
    summary = f"{_passages(count)}, best first"
    changes = [f"{draft.cut} cut to the best sentences"] if draft.cut else []
    changes += [f"{draft.left_out} more omitted"] if draft.left_out else []
    if below:
        summary += f", {below} more below min_score"
    if not changes:
        return f"{summary}."
    return (
        f"{summary}; {', '.join(changes)} to stay within {arguments.max_tokens:,} tokens: "
        "expand an id to read it whole, or raise max_tokens."
    )


def _passages(count: int) -> str:
    return f"{count} passage{'' if count == 1 else 's'}"


def _as_text(result: SearchResult, offset: int, *, several: bool, shows_maxsim: bool) -> str:
    blocks = [
        _block(rank, hit, several=several, shows_maxsim=shows_maxsim)
        for rank, hit in enumerate(result.hits, offset + 1)
    ]
    return "\n\n".join([result.note, *blocks])


def _sentence(message: object) -> str:
    """Return a message as a sentence: one that ends in a question keeps its mark."""
    text = str(message)
    return text if text.endswith("?") else f"{text}."


def _block(rank: int, hit: PassageHit, *, several: bool, shows_maxsim: bool = True) -> str:
    """Return a hit as text; without MaxSim per token where a warning says that it means little."""
    heading = f"{rank}. {hit.id}"
    if several:
        heading += f" in {hit.index}"
    if hit.score is not None:
        per_token = "" if hit.score_per_token is None or not shows_maxsim else f", {hit.score_per_token:.3f} per token"
        heading += f" (score {hit.score:.4g}{per_token})"
    if hit.other_passages:
        heading += f" and {hit.other_passages} more of its document"
    if hit.metadata:
        heading += f" {as_json(hit.metadata)}"
    if hit.text is None:
        return f"{heading}\n(added as vectors, without text)"
    before, after = "… " if hit.start else "", " …" if hit.end < hit.characters else ""
    return f"{heading}\n{before}{hit.text}{after}"
