"""Searches and explanations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from serotine.serving.schemas.base import Asked, Text, Told, Vectors, Where

Candidates = Annotated[int | None, Field(ge=1, description="Documents scored over their codes; more find more.")]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Options(Asked):
    """How to search: the keywords of `Index.search`."""

    k: int = Field(10, ge=1, description="How many hits.")
    where: Where = None
    mode: Literal["late", "bm25", "hybrid"] = Field("late", description="Rank by MaxSim, by words, or by both.")
    exact: bool = Field(False, description="Find the true best, and prove it: see `certificate`.")
    fusion: Literal["rrf", "sum"] = Field("rrf", description="How a hybrid search joins its rankings.")
    weights: tuple[Weight, Weight] = Field((1.0, 1.0), description="Of the late and the lexical ranking.")
    candidates: Candidates = None
    explain: bool = Field(False, description="Explain every hit: which of its tokens each question token chose.")


class Query(Asked):
    """One question of a batch, in words or as vectors."""

    query: Text | None = Field(None, description="A question.", examples=["what do bats eat?"])
    vectors: Vectors | None = None

    @model_validator(mode="after")
    def _one(self) -> Query:
        if (self.query is None) == (self.vectors is None):
            raise ValueError("want either 'query' or 'vectors'")
        return self


class SearchRequest(Options):
    """A question, in words or as vectors, and how to search."""

    query: Text | None = Field(None, description="A question.", examples=["what do bats eat?"])
    vectors: Vectors | None = None

    @model_validator(mode="after")
    def _one(self) -> SearchRequest:
        if (self.query is None) == (self.vectors is None):
            raise ValueError("want either 'query' or 'vectors'")
        return self


class BatchRequest(Options):
    """Many questions, searched alike."""

    queries: list[Text | Query] = Field(
        min_length=1,
        description="Questions: strings, or objects with `query` or `vectors`.",
        examples=[["what do bats eat?", "how do bats find their way?"]],
    )


class ExplainRequest(Asked):
    """A question, and the document to hold it against."""

    query: Text = Field(description="A question.", examples=["what do bats eat?"])
    id: Text = Field(description="A document's id.", examples=["d1"])


class TokenMatchBody(Told):
    """One token of a question, and the document token it chose; offsets are in characters, [start, end)."""

    query_token: str
    query_start: int
    query_end: int
    token: str | None
    start: int
    end: int
    similarity: float | None = Field(description="Their dot product; null in a document without tokens.")


class ExplanationBody(Told):
    """A score taken apart: the similarities add up to it."""

    id: str
    score: float | None
    query: str
    text: str
    matches: list[TokenMatchBody]
    spans: list[tuple[int, int, float]] = Field(
        description="The matched words of the text: [start, end, weight], weights in (0, 1].",
        examples=[[[0, 4, 1.0]]],
    )


class HitBody(Told):
    """One document found."""

    id: str
    score: float | None = Field(description="null for minus infinity: a document without tokens.")
    text: str | None
    metadata: dict[str, Any]
    explanation: ExplanationBody | None = None


class SearchStatsBody(Told):
    """How an answer was found."""

    plan: str = Field(examples=["scan"])
    documents: int
    tokens: int
    counts: dict[str, int]
    milliseconds: dict[str, float]


class CertificateBody(Told):
    """What `exact` proved."""

    exact: bool
    kth_score: float | None = Field(description="null for minus infinity: there are no hits.")
    bound: float | None = Field(description="null for minus infinity: there is no other document.")
    rescored: int
    undecided: int
    statement: str


class Milliseconds(Told):
    """Where the time went, in this server: `total` includes waiting."""

    encode: float
    search: float
    total: float


class SearchAnswer(Told):
    """The hits of one question, best first."""

    hits: list[HitBody]
    stats: SearchStatsBody
    certificate: CertificateBody | None
    milliseconds: Milliseconds


class BatchAnswer(Told):
    """The hits of every question, in the order asked."""

    results: list[SearchAnswer]
