"""Reranking and encoding in the formats of Cohere, Jina and vLLM; options known only to them are ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from serotine.serving.http.schemas.base import (
    DocumentText,
    Items,
    QueryText,
    RequestBody,
    ResponseBody,
    Text,
    WarningDetail,
)

Model = Annotated[
    Text | None,
    Field(description="Name of an encoder, or of an index that uses it; by default, the first index's encoder."),
]
Side = Literal["query", "document"]
Warnings = Annotated[
    list[WarningDetail],
    Field(description="Texts that are longer than the encoder reads, or outside its vocabulary; else empty."),
]


class _LenientRequest(RequestBody):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TextObject(_LenientRequest):
    """A text as an object."""

    text: DocumentText


class RerankRequest(_LenientRequest):
    """A query, and documents to rank."""

    model: Model = None
    query: QueryText = Field(min_length=1, examples=["what do bats eat?"])
    documents: Items[DocumentText | TextObject] = Field(min_length=1, examples=[["Bats eat moths.", "Cats sleep."]])
    top_n: int | None = Field(None, ge=1, description="Number of results; by default all.")
    return_documents: bool = False


class RerankResult(ResponseBody):
    """One document's rank."""

    index: int = Field(description="Its position in the request.")
    relevance_score: float = Field(description="MaxSim divided by the number of query tokens; 0 for an empty text.")
    document: TextObject | None = None


class Usage(ResponseBody):
    """Token vectors computed."""

    total_tokens: int
    prompt_tokens: int


class RerankResponse(ResponseBody):
    """The documents, best first."""

    model: str
    results: list[RerankResult]
    usage: Usage
    warnings: Warnings


class MultiVectorRequest(_LenientRequest):
    """Texts to encode, in Jina's format."""

    model: Model = None
    input: Items[DocumentText | TextObject] = Field(min_length=1, examples=[["Bats eat moths."]])
    input_type: Side = "document"
    embedding_type: Literal["float", "base64"] = Field("float", description="base64 encodes little-endian float16.")


class MultiVector(ResponseBody):
    """One text's token vectors."""

    object: str
    index: int
    embeddings: list[list[float]] | str
    shape: tuple[int, int] = Field(description="Tokens and dimension.")


class MultiVectorResponse(ResponseBody):
    """Token vectors of every text, in order."""

    model: str
    object: str
    usage: Usage
    data: list[MultiVector]
    warnings: Warnings


class PoolingRequest(_LenientRequest):
    """Texts to encode, in vLLM's format plus `input_type`."""

    model: Model = None
    input: DocumentText | Items[DocumentText] = Field(examples=[["Bats eat moths."]])
    task: Literal["token_embed"] = "token_embed"
    encoding_format: Literal["float", "base64"] = Field("float", description="base64 encodes little-endian float16.")
    input_type: Side = "document"


class Pooled(ResponseBody):
    """One text's token vectors."""

    index: int
    object: str
    data: list[list[float]] | str
    shape: tuple[int, int] = Field(description="Tokens and dimension.")


class PoolingResponse(ResponseBody):
    """Token vectors of every text, in order."""

    id: str
    object: str
    created: int
    model: str
    data: list[Pooled]
    usage: Usage
    warnings: Warnings
