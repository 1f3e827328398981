"""Arguments and results of the tools; agents read them as JSON schemas."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serotine.index import GroupBy, SearchOptions
from serotine.texts import MAX_QUERY_CHARACTERS

MIN_TOKENS, MAX_TOKENS = 200, 100_000
# Not "xtr", which is for comparisons: an agent would have to learn when it is worse.
Mode = Literal["late", "bm25", "hybrid", "pooled"]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _tolerate(cls, value: Any) -> Any:
        # Agents send null for omitted arguments, and sometimes JSON inside a string.
        if not isinstance(value, dict):
            return value
        arguments = {name: argument for name, argument in value.items() if argument is not None}
        where = arguments.get("where")
        if isinstance(where, str):
            try:
                arguments["where"] = json.loads(where)
            except (ValueError, RecursionError):
                raise ValueError('where: must be a JSON object such as {"lang": "en"}') from None
        return arguments


class SearchArguments(_Arguments):
    """Arguments of `search`."""

    query: str = Field(
        max_length=MAX_QUERY_CHARACTERS,
        description="What to find, as a question or in plain words; a sentence finds more than a keyword.",
    )
    k: int = Field(8, ge=1, le=50, description="Number of passages.")
    where: dict[str, Any] | None = Field(
        None,
        description='Only passages whose metadata match: {"lang": "en", "year": {">=": 2020}, "source": {"contains": '
        '"docs/"}}. Operators ==, !=, <, <=, >, >=, in (a list, at most 10,000 values), contains; and/or (a list) '
        "and not nest. `list` shows the fields.",
    )
    index: str | None = Field(None, description="Name of one index; by default all are searched.")
    mode: Mode = Field(
        "late",
        description="late: by meaning, token by token. bm25: by exact words, for identifiers, error codes and names. "
        "hybrid: both. pooled: late, and a vector of the whole passage, where `list` says so.",
    )
    offset: int = Field(0, ge=0, le=1000, description="Number of the best passages to skip: the next page.")
    min_score: float | None = Field(
        None,
        description="Only passages whose score_per_token is at least this, so that a question the text does not answer "
        "finds nothing; with the default encoder 0.6.",
    )
    group_by: GroupBy | None = Field(
        None, description="document: one passage per document, the best, instead of several of the same one."
    )
    recall: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the truly best passages to find: 0.99 by default; 1 for certainty, which takes longer.",
    )
    max_tokens: int = Field(
        2000,
        ge=MIN_TOKENS,
        le=MAX_TOKENS,
        description="The whole result stays within this many tokens: passages are cut to the sentences that match "
        "best, and the last ones omitted; the result says how many.",
    )

    def options(self) -> SearchOptions:
        """Return the options of the search."""
        return SearchOptions(
            k=self.k,
            where=self.where,
            mode=self.mode,
            offset=self.offset,
            min_score=self.min_score,
            group_by=self.group_by,
            recall=self.recall,
        )


class ExpandArguments(_Arguments):
    """Arguments of `expand`."""

    id: str = Field(description="A passage's id, from search.")
    index: str | None = Field(None, description="Name of its index, where several have that id.")
    neighbors: int = Field(
        0, ge=0, le=20, description="Number of passages of the same file to return before it, and as many after it."
    )
    offset: int = Field(0, ge=0, description="Start at this character: next_offset of an earlier result.")
    max_tokens: int = Field(
        4000, ge=MIN_TOKENS, le=MAX_TOKENS, description="The whole result stays within this many tokens."
    )


class ListArguments(_Arguments):
    """Arguments of `list`."""

    index: str | None = Field(None, description="Name of one index; by default all are listed.")


class PassageHit(BaseModel):
    """One passage that a search found."""

    index: str
    id: str = Field(description="For `expand`.")
    score: float | None = Field(description="What the order follows; comparable only within one result.")
    score_per_token: float | None = Field(
        description="MaxSim per query token, at most 1, comparable between queries; null in mode bm25."
    )
    other_passages: int = Field(description="With group_by: number of further passages of its document.")
    text: str | None = Field(description="The passage, or its best matching sentences; null if it has no text.")
    start: int = Field(description="First character of `text` in the passage.")
    end: int = Field(description="One past its last character.")
    characters: int = Field(description="Length of the whole passage.")
    metadata: dict[str, Any]
    metadata_left_out: list[str] = Field(description="Metadata fields too long to include.")


class SearchResult(BaseModel):
    """Result of `search`."""

    hits: list[PassageHit] = Field(description="Best first.")
    cut: int = Field(description="Number of these passages that are cut to their best sentences.")
    left_out: int = Field(description="Number of further passages that did not fit into max_tokens.")
    note: str = Field(description="The same in words, and what to do next.")


class Passage(BaseModel):
    """One passage, or as much of it as fits."""

    id: str
    text: str | None
    start: int = Field(description="First character of `text` in the passage.")
    end: int = Field(description="One past its last character.")
    characters: int = Field(description="Length of the whole passage.")
    metadata: dict[str, Any]
    metadata_left_out: list[str]


class ExpandResult(BaseModel):
    """Result of `expand`."""

    index: str
    passages: list[Passage] = Field(description="In text order; text that neighbors share is included once.")
    next_offset: int | None = Field(description="The `offset` to continue with; null when the passage is complete.")
    left_out: list[str] = Field(description="Ids of neighbors that did not fit into max_tokens.")
    note: str = Field(description="The same in words.")


class FieldSummary(BaseModel):
    """A metadata field."""

    name: str
    type: str
    declared: bool = Field(description="Whether filters on it are fast.")
    examples: list[Any] = Field(description="Values from a sample, the most common first.")


class IndexSummary(BaseModel):
    """One served index."""

    name: str
    passages: int
    tokens: int
    encoder: str | None
    modes: list[str] = Field(description="Allowed values of `mode`.")
    recall: str = Field(description="How much of the truly best passages searches find, where it was measured.")
    fields: list[FieldSummary] = Field(description="Fields that `where` may use.")


class ListResult(BaseModel):
    """Result of `list`."""

    indexes: list[IndexSummary]
