"""Reranking and encoding, in the shapes of Cohere, Jina and vLLM; what those know and this does not is ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from serotine.serving.schemas.base import Asked, Text, Told

Model = Annotated[
    Text | None,
    Field(description="An encoder's name, or an index's that uses it; the first index's unless given."),
]
Side = Literal["query", "document"]


class _Lenient(Asked):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TextObject(_Lenient):
    """A text as an object."""

    text: Text


class RerankRequest(_Lenient):
    """A question, and documents to put in order."""

    model: Model = None
    query: Text = Field(min_length=1, examples=["what do bats eat?"])
    documents: list[Text | TextObject] = Field(min_length=1, examples=[["Bats eat moths.", "Cats sleep."]])
    top_n: int | None = Field(None, ge=1, description="How many results; all unless given.")
    return_documents: bool = False


class RerankResult(Told):
    """One document's place."""

    index: int = Field(description="Its place in the request.")
    relevance_score: float = Field(description="MaxSim over the question's number of tokens; 0 without words.")
    document: TextObject | None = None


class Usage(Told):
    """Token vectors that were made."""

    total_tokens: int
    prompt_tokens: int


class RerankAnswer(Told):
    """The documents, best first."""

    model: str
    results: list[RerankResult]
    usage: Usage


class MultiVectorRequest(_Lenient):
    """Texts to encode, as Jina asks."""

    model: Model = None
    input: list[Text | TextObject] = Field(min_length=1, examples=[["Bats eat moths."]])
    input_type: Side = "document"
    embedding_type: Literal["float", "base64"] = Field("float", description="base64 is of little-endian float16.")


class MultiVector(Told):
    """One text's token vectors."""

    object: str
    index: int
    embeddings: list[list[float]] | str
    shape: tuple[int, int] = Field(description="Tokens and dimension.")


class MultiVectorAnswer(Told):
    """Token vectors of every text, in order."""

    model: str
    object: str
    usage: Usage
    data: list[MultiVector]


class PoolingRequest(_Lenient):
    """Texts to encode, as vLLM asks; `input_type` is ours."""

    model: Model = None
    input: Text | list[Text] = Field(examples=[["Bats eat moths."]])
    task: Literal["token_embed"] = "token_embed"
    encoding_format: Literal["float", "base64"] = Field("float", description="base64 is of little-endian float16.")
    input_type: Side = "document"


class Pooled(Told):
    """One text's token vectors."""

    index: int
    object: str
    data: list[list[float]] | str
    shape: tuple[int, int] = Field(description="Tokens and dimension.")


class PoolingAnswer(Told):
    """Token vectors of every text, in order."""

    id: str
    object: str
    created: int
    model: str
    data: list[Pooled]
    usage: Usage
