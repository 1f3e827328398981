"""Indexes, their documents, and uploads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from serotine.serving.schemas.base import Asked, Text, Told, Vectors

TypeName = Literal["str", "int", "float", "bool"]


class IndexBody(Told):
    """An index in short."""

    name: str = Field(examples=["wiki"])
    documents: int
    tokens: int
    bytes: int
    dim: int
    encoder: str | None
    filterable: dict[str, str] = Field(examples=[{"lang": "str", "year": "int"}])
    writable: bool


class IndexList(Told):
    """All indexes, by name."""

    indexes: list[IndexBody]


class CreateRequest(Asked):
    """A new index."""

    name: str = Field(description="Letters, digits, '.', '_' and '-'.", examples=["notes"], max_length=100)
    dim: int | None = Field(
        None, ge=1, le=8192, description="Dimension of the vectors that will be sent; null for the default encoder."
    )
    nbits: Literal[2, 4, 8] = Field(4, description="Bits a dimension of the residual codes.")
    keep_vectors: bool = Field(True, description="Keep float16 vectors beside the codes.")
    filterable: dict[str, TypeName] = Field(
        default_factory=dict, description="Metadata fields that filters find fast.", examples=[{"lang": "str"}]
    )


class StatsBody(Told):
    """Everything `Index.stats` tells."""

    documents: int
    deleted: int
    tokens: int
    dim: int
    segments: int
    coded_tokens: int
    codebooks: int
    centroids: int
    nbits: int
    keep_vectors: bool
    filterable: dict[str, str]
    bytes: int
    code_bytes_per_token: float
    catalog_bytes: int
    bytes_per_token: float
    encoder: str | None
    encoder_options: dict[str, Any]
    format_version: int


class VerifyBody(Told):
    """What was checked, all of it sound."""

    segments: int
    codebooks: int
    documents: int
    bytes: int
    stray_files: list[str]


class NewDocument(Asked):
    """A document to add."""

    id: Text = Field(min_length=1, examples=["d1"])
    text: Text | None = Field(None, description="What is encoded and shown.", examples=["Bats eat moths."])
    metadata: dict[str, Any] = Field(default_factory=dict, examples=[{"lang": "en"}])
    vectors: Vectors | None = None


class AddRequest(Asked):
    """Documents to add: all of them, or, when anything is wrong, none."""

    documents: list[NewDocument] = Field(min_length=1)
    upsert: bool = Field(False, description="Replace documents whose ids are there already.")
    skip_known: bool = Field(False, description="Pass over documents whose ids are there already.")


class Added(Told):
    """The documents are committed: on disk, and found by every search from now on."""

    added: int


class DocumentBody(Told):
    """A document as it is stored."""

    id: str
    text: str | None
    metadata: dict[str, Any]
    vectors: str | None = Field(None, description="With `?vectors=true`: base64 of little-endian float16.")
    dim: int | None = None


class DeleteRequest(Asked):
    """Documents to delete: all of them, or, when one is not there, none."""

    ids: list[Annotated[str, Field()]] = Field(min_length=1, examples=[["d1", "d2"]])


class Deleted(Told):
    """The documents are gone."""

    deleted: int


class FetchRequest(Asked):
    """Documents to get by id."""

    ids: list[str] = Field(examples=[["d1", "d2"]])


class Documents(Told):
    """Documents in the order asked."""

    documents: list[DocumentBody]


class Ids(Told):
    """A stretch of an index's ids, in the order they were added."""

    ids: list[str]
    total: int


class JobStarted(Told):
    """An upload was taken; `GET /v1/jobs/{job}` tells how far it is."""

    job: str


class SkippedFile(Told):
    """A file that gave no documents."""

    file: str
    reason: str


class JobBody(Told):
    """How far an upload is."""

    id: str
    index: str
    state: Literal["queued", "running", "done", "failed"]
    done: int = Field(description="Files dealt with.")
    total: int = Field(description="Files.")
    added: int = Field(description="Documents committed.")
    skipped: list[SkippedFile]
    error: str | None
