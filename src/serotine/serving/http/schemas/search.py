"""Searches, explanations, and the recall of searches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pydantic
from pydantic import Field, model_validator

from serotine.errors import shown
from serotine.index import Certificate, Explanation, Hit, Partial, SearchOptions, SearchStats, TuneReport
from serotine.serving.http.schemas.base import (
    REQUEST_CONFIG,
    Items,
    QueryText,
    RequestBody,
    ResponseBody,
    Text,
    Vectors,
    WarningDetail,
    Where,
    check_fields,
)
from serotine.serving.http.schemas.dataclass_schema import Described

_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_request = pydantic.dataclasses.dataclass(config=REQUEST_CONFIG, frozen=True, kw_only=True)
_SearchWarnings = Annotated[
    list[WarningDetail],
    Field(
        description="What the encoder did not read or know of the query, how it was searched instead, fields of "
        "the filter that no document has, and whether even the best hit is weak."
    ),
]
_QUERY = "The query as text."
_QUERY_EXAMPLES = ["what do bats eat?"]


@_request
class SearchBody(SearchOptions):
    """The options of a search, with the bounds that JSON schema can express.

    Attributes:
        explain: whether to explain every hit: which of its tokens each query token chose.
    """

    k: Annotated[int, Field(ge=1)] = 10
    where: Where = None
    weights: tuple[_Weight, _Weight] | None = None
    candidates: Annotated[int | None, Field(ge=1)] = None
    offset: Annotated[int, Field(ge=0)] = 0
    min_score: Annotated[float | None, Field(allow_inf_nan=False, examples=[0.6])] = None
    recall: Annotated[float | None, Field(gt=0, le=1, examples=[0.99])] = None
    k_token: Annotated[int | None, Field(ge=1, examples=[1000])] = None
    explain: bool = False

    _check_fields = model_validator(mode="before")(check_fields)


class Query(RequestBody):
    """One query of a batch, as text or as vectors."""

    query: QueryText | None = Field(None, description=_QUERY, examples=_QUERY_EXAMPLES)
    vectors: Vectors | None = None

    @model_validator(mode="after")
    def _validate_query(self) -> Query:
        _require_one(self.query, self.vectors)
        return self


@_request
class SearchRequestBody(SearchBody):
    """A query, as text or as vectors, and how to search."""

    query: Annotated[QueryText | None, Field(description=_QUERY, examples=_QUERY_EXAMPLES)] = None
    vectors: Vectors | None = None

    @model_validator(mode="after")
    def _validate_query(self) -> SearchRequestBody:
        _require_one(self.query, self.vectors)
        return self


@_request
class BatchRequestBody(SearchBody):
    """Many queries, searched with the same options."""

    queries: Annotated[
        Items[QueryText | Query],
        Field(
            min_length=1,
            description="Queries: strings, or objects with `query` or `vectors`.",
            examples=[["what do bats eat?", "how do bats navigate?"]],
        ),
    ]


@_request
class SeveralRequestBody(SearchBody):
    """A query as text, and the indexes to search as one."""

    query: Annotated[QueryText, Field(description=_QUERY, examples=_QUERY_EXAMPLES)]
    indexes: Annotated[
        Items[Text],
        Field(
            min_length=1,
            description="Names of indexes, each once. Scores are those of one index; by words, or by meaning with "
            "different encoders, a hit's score is 1 / (60 + its rank in its index).",
            examples=[["notes", "wiki"]],
        ),
    ]

    @model_validator(mode="after")
    def _validate_indexes(self) -> SeveralRequestBody:
        names: set[str] = set()
        for i, name in enumerate(self.indexes):
            if name in names:
                raise ValueError(f"indexes[{i}]: duplicate name {shown(name)}; names must be unique")
            names.add(name)
        return self


class TuneRequest(RequestBody):
    """Queries to measure the recall of an index with."""

    queries: Items[QueryText | Query] | None = Field(
        None,
        min_length=1,
        description="Queries like those that will be searched for, some hundred of them: strings, or objects with "
        "`query` or `vectors`. Null: they are made from the documents.",
        examples=[["what do bats eat?", "how do bats navigate?"]],
    )


TuneResponse = Annotated[TuneReport, Described(TuneReport)]
SearchRequest = Annotated[SearchRequestBody, Described(SearchRequestBody)]
BatchRequest = Annotated[BatchRequestBody, Described(BatchRequestBody)]
SeveralRequest = Annotated[SeveralRequestBody, Described(SeveralRequestBody)]


class ExplainRequest(RequestBody):
    """A query, and the document whose score to explain."""

    query: QueryText = Field(description=_QUERY, examples=_QUERY_EXAMPLES)
    id: Text = Field(description="A document's id.", examples=["d1"])


@dataclass(frozen=True)
class ExplanationWithSpans(Explanation):
    """A score explained: the similarities of `matches` add up to it.

    Attributes:
        spans: the matched words of the text: [start, end, weight], weights in (0, 1].
    """

    # Named like the method that computes it.
    spans: Annotated[list[tuple[int, int, float]], Field(examples=[[[0, 4, 1.0]]])] = field()  # type: ignore[assignment]


ExplanationResponse = Annotated[ExplanationWithSpans, Described(ExplanationWithSpans)]


@dataclass(frozen=True)
class ExplainedHit(Hit):
    """One hit of a search.

    Attributes:
        explanation: how the score was computed, if requested and the document has tokens and text.
    """

    explanation: ExplanationWithSpans | None = None


@dataclass(frozen=True, kw_only=True)
class IndexedHit(ExplainedHit):
    """One hit among those of several indexes.

    Attributes:
        index: the name of its index.
        score: what it is ranked by among all.
    """

    index: str = field()


class Milliseconds(ResponseBody):
    """The time spent in this server; `total` includes waiting."""

    encode: float
    search: float
    total: float


class SearchedIndex(ResponseBody):
    """How one index was searched."""

    stats: Annotated[SearchStats, Described(SearchStats)]
    certificate: Annotated[Certificate, Described(Certificate)] | None
    partial: Annotated[Partial, Described(Partial)] | None


class SearchResponse(SearchedIndex):
    """The hits of one query, best first."""

    hits: list[Annotated[ExplainedHit, Described(ExplainedHit)]]
    warnings: _SearchWarnings
    milliseconds: Milliseconds


class NamedIndex(SearchedIndex):
    """How one of several indexes was searched."""

    index: str = Field(description="Its name.", examples=["wiki"])


class SeveralResponse(ResponseBody):
    """The hits of one query among those of several indexes, best first."""

    hits: list[Annotated[IndexedHit, Described(IndexedHit)]]
    indexes: list[NamedIndex] = Field(description="How each index was searched, in the order of the request.")
    warnings: _SearchWarnings
    milliseconds: Milliseconds


class BatchResponse(ResponseBody):
    """The hits of every query, in the order of the queries."""

    results: list[SearchResponse]


def _require_one(query: object, vectors: object) -> None:
    if (query is None) == (vectors is None):
        raise ValueError("query, vectors: exactly one of the two is needed")
