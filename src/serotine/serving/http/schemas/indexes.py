"""Indexes and their documents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from serotine.index import IndexStats, LongTexts, Missing, VerifyReport
from serotine.serving.http.schemas.base import (
    DocumentText,
    Items,
    RequestBody,
    ResponseBody,
    Text,
    Vectors,
    WarningDetail,
    Where,
    check_fields,
)
from serotine.serving.http.schemas.dataclass_schema import Described
from serotine.texts import MAX_ID_BYTES

TypeName = Literal["str", "int", "float", "bool"]
MAX_IDS = 100_000


class IndexSummary(ResponseBody):
    """Name, size and encoder of an index."""

    name: str = Field(examples=["wiki"])
    documents: int
    tokens: int
    bytes: int
    dim: int
    encoder: str | None
    filterable: dict[str, str] = Field(examples=[{"lang": "str", "year": "int"}])
    writable: bool = Field(description="Whether this request's token may change it.")


class IndexListResponse(ResponseBody):
    """All indexes, by name."""

    indexes: list[IndexSummary]


class CreateRequest(RequestBody):
    """A new index."""

    name: str = Field(description="Letters, digits, '.', '_' and '-'.", examples=["notes"], max_length=100)
    dim: int | None = Field(
        None, ge=1, le=8192, description="Dimension of the vectors to be sent; null for the default encoder."
    )
    nbits: Literal[2, 4, 8] = Field(4, description="Bits per dimension of the residual codes.")
    keep_vectors: bool = Field(True, description="Store float16 vectors beside the codes.")
    filterable: Annotated[dict[str, TypeName], BeforeValidator(check_fields)] = Field(
        default_factory=dict, description="Metadata fields indexed for filters.", examples=[{"lang": "str"}]
    )


StatsResponse = Annotated[IndexStats, Described(IndexStats)]
VerifyResponse = Annotated[VerifyReport, Described(VerifyReport)]


class NewDocument(RequestBody):
    """A document to add."""

    id: Text = Field(min_length=1, max_length=MAX_ID_BYTES, examples=["d1"])
    text: DocumentText | None = Field(None, description="The text to encode and return.", examples=["Bats eat moths."])
    metadata: dict[str, Any] = Field(default_factory=dict, examples=[{"lang": "en"}])
    vectors: Vectors | None = None


class AddRequest(RequestBody):
    """Documents to add: all of them, or none if any is invalid."""

    documents: Items[NewDocument] = Field(min_length=1, max_length=MAX_IDS)
    upsert: bool = Field(False, description="Replace documents whose ids exist.")
    skip_known: bool = Field(False, description="Skip documents whose ids exist.")
    long_texts: LongTexts = Field("warn", description="What to do with texts that are longer than the encoder reads.")


class AddResponse(ResponseBody):
    """How many documents were committed: on disk, and found by every later search."""

    added: int
    warnings: list[WarningDetail]


class DocumentResponse(ResponseBody):
    """A stored document."""

    id: str
    text: str | None
    metadata: dict[str, Any]
    vectors: str | None = Field(None, description="With `?vectors=true`: base64 of little-endian float16.")
    dim: int | None = None


class DeleteRequest(RequestBody):
    """Documents to delete: by id, all of them or none if any does not exist; or those that pass a filter."""

    ids: Items[str] | None = Field(None, min_length=1, examples=[["d1", "d2"]])
    where: Where = None

    @model_validator(mode="after")
    def _validate_choice(self) -> DeleteRequest:
        if (self.ids is None) == (self.where is None):
            raise ValueError("ids, where: exactly one of the two is needed")
        return self


class DeleteResponse(ResponseBody):
    """How many documents were deleted."""

    deleted: int
    warnings: list[WarningDetail]


class MetadataChange(RequestBody):
    """New metadata of a document."""

    id: Text = Field(examples=["d1"])
    metadata: dict[str, Any] = Field(examples=[{"lang": "en"}], description="Null removes a field.")


class UpdateMetadataRequest(RequestBody):
    """Documents whose metadata to change: all of them, or none if any does not exist."""

    documents: Items[MetadataChange] = Field(min_length=1, max_length=MAX_IDS)
    replace: bool = Field(False, description="Drop the fields that are not given, and store null as it is.")


class UpdateMetadataResponse(ResponseBody):
    """How many documents have new metadata."""

    updated: int


class FetchRequest(RequestBody):
    """Documents to get by id."""

    ids: Items[str] = Field(examples=[["d1", "d2"]])
    missing: Missing = Field("error", description="For an id that is not in the index: an error, or null in its place.")


class FetchResponse(ResponseBody):
    """Documents in the order of the requested ids."""

    documents: list[DocumentResponse | None]


class IdsRequest(RequestBody):
    """A page of the ids of documents that pass a filter."""

    where: Where = None
    offset: int = Field(0, ge=0, le=2**53)
    limit: int = Field(10_000, ge=1, le=MAX_IDS)


class IdsResponse(ResponseBody):
    """A page of an index's ids, in insertion order."""

    ids: list[str]
    total: int
    warnings: list[WarningDetail]
