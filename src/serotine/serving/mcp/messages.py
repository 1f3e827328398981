"""What the tools take and give, as JSON schemas tell it to an agent."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LEAST_TOKENS, MOST_TOKENS = 200, 100_000


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _forgive(cls, value: Any) -> Any:
        # Agents write null for what they leave out, and now and then JSON inside a string.
        if not isinstance(value, dict):
            return value
        given = {name: each for name, each in value.items() if each is not None}
        where = given.get("where")
        if isinstance(where, str):
            try:
                given["where"] = json.loads(where)
            except (ValueError, RecursionError):
                raise ValueError('where: want a JSON object such as {"lang": "en"}') from None
        return given


class SearchArguments(_Arguments):
    """What `search` takes."""

    query: str = Field(
        description="A question, or what you look for, in plain words; a sentence finds more than a key word."
    )
    k: int = Field(8, ge=1, le=50, description="How many passages.")
    where: dict[str, Any] | None = Field(
        None,
        description='Only passages whose metadata match: {"lang": "en", "year": {">=": 2020}, "source": {"contains": '
        '"docs/"}}. Operators ==, !=, <, <=, >, >=, in (a list), contains; and/or (a list) and not nest. '
        "`list` tells the fields.",
    )
    index: str | None = Field(None, description="Name of one index; all are searched unless given.")
    mode: Literal["late", "bm25", "hybrid"] = Field(
        "late",
        description="late: by meaning, token by token. bm25: by exact words, for identifiers, error codes and names. "
        "hybrid: both.",
    )
    max_tokens: int = Field(
        2000,
        ge=LEAST_TOKENS,
        le=MOST_TOKENS,
        description="The whole answer stays within this many tokens: passages are cut to the sentences that match "
        "best, and the last ones left out; the answer says how many.",
    )


class ExpandArguments(_Arguments):
    """What `expand` takes."""

    id: str = Field(description="A passage's id, as search writes it.")
    index: str | None = Field(None, description="Name of its index, where several hold that id.")
    neighbours: int = Field(
        0, ge=0, le=20, description="How many passages of the same file to give before it, and as many after it."
    )
    offset: int = Field(0, ge=0, description="Begin at this character of the passage: next_offset of an answer before.")
    max_tokens: int = Field(
        4000, ge=LEAST_TOKENS, le=MOST_TOKENS, description="The whole answer stays within this many tokens."
    )


class ListArguments(_Arguments):
    """What `list` takes."""

    index: str | None = Field(None, description="Name of one index; all are told unless given.")


class Found(BaseModel):
    """One passage that a search found."""

    index: str
    id: str = Field(description="For `expand`.")
    score: float | None = Field(description="More is better; compare only within one answer.")
    text: str | None = Field(description="The passage, or its best matching sentences; null if it has no text.")
    start: int = Field(description="First character of `text` in the passage.")
    end: int = Field(description="One past its last character.")
    characters: int = Field(description="Length of the whole passage.")
    metadata: dict[str, Any]
    metadata_left_out: list[str] = Field(description="Metadata fields that are too long to be given.")


class SearchAnswer(BaseModel):
    """What `search` gives."""

    hits: list[Found] = Field(description="Best first.")
    cut: int = Field(description="How many of these passages are cut to their best sentences.")
    left_out: int = Field(description="How many more were found, but had no room in max_tokens.")
    note: str = Field(description="The same in words, and what to do next.")


class Passage(BaseModel):
    """One passage, or the part of it that has room."""

    id: str
    text: str | None
    start: int = Field(description="First character of `text` in the passage.")
    end: int = Field(description="One past its last character.")
    characters: int = Field(description="Length of the whole passage.")
    metadata: dict[str, Any]
    metadata_left_out: list[str]


class ExpandAnswer(BaseModel):
    """What `expand` gives."""

    index: str
    passages: list[Passage] = Field(description="In the order of the text; what neighbours share is given once.")
    next_offset: int | None = Field(
        description="Where to go on with `offset`; null when the passage is given to its end."
    )
    left_out: list[str] = Field(description="Ids of neighbours that had no room in max_tokens.")
    note: str = Field(description="The same in words.")


class FieldOfIndex(BaseModel):
    """A metadata field."""

    name: str
    type: str
    declared: bool = Field(description="Whether filters on it are fast.")
    examples: list[Any] = Field(description="Values it has, the commonest first, from a sample.")


class IndexOfList(BaseModel):
    """One index that is served."""

    name: str
    passages: int
    tokens: int
    encoder: str | None
    modes: list[str] = Field(description="What `mode` may be.")
    fields: list[FieldOfIndex] = Field(description="What `where` may name.")


class ListAnswer(BaseModel):
    """What `list` gives."""

    indexes: list[IndexOfList]
