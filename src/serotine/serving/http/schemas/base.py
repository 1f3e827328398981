"""Base classes and fields of all request and response bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from serotine.texts import MAX_QUERY_CHARACTERS, MAX_TEXT_CHARACTERS, is_text

REQUEST_CONFIG = ConfigDict(extra="forbid")
"""Requests refuse unknown fields: a misspelled option must not silently become a default."""
# Every invalid or unknown field is an error of a kilobyte.
_MAX_FIELDS = 256
_Item = TypeVar("_Item")
Items = Annotated[list[_Item], Field(fail_fast=True)]
"""A list of a request, validated up to its first invalid item: an error of each would fill the memory."""


def check_fields(value: Any) -> Any:
    """Return an object of a request as it is.

    Raises:
        ValueError: it has more fields than any request.
    """
    if isinstance(value, dict) and len(value) > _MAX_FIELDS:
        raise ValueError(f"fields: must be at most {_MAX_FIELDS}, got {len(value):,}; drop the unknown ones")
    return value


def _validate_text(value: str) -> str:
    if not is_text(value):
        raise ValueError("contains a lone surrogate; send valid Unicode")
    return value


Text = Annotated[str, AfterValidator(_validate_text)]
DocumentText = Annotated[Text, Field(max_length=MAX_TEXT_CHARACTERS)]
QueryText = Annotated[Text, Field(max_length=MAX_QUERY_CHARACTERS)]
Vectors = Annotated[
    Items[Items[Annotated[float, Field(allow_inf_nan=False)]]] | str,
    Field(
        description="Token vectors (tokens, dim): rows of numbers, or base64 of little-endian float16, row by row; "
        "of float32 after the prefix `float32:`.",
        examples=[[[0.6, 0.8], [1.0, 0.0]], "zTg6Og=="],
    ),
]
Where = Annotated[
    Mapping[str, Any] | None,
    Field(
        description="Filter on metadata, in the filter language of the library; null for every document. At most 256 "
        "comparisons, nested 64 deep, and 10,000 values of `in`.",
        examples=[{"lang": "en", "year": {">=": 2020}}],
    ),
]


class RequestBody(BaseModel):
    """A request's body."""

    model_config = ConfigDict(**REQUEST_CONFIG, frozen=True)

    _check_fields = model_validator(mode="before")(check_fields)


class ResponseBody(BaseModel):
    """A response's body."""

    model_config = ConfigDict(frozen=True)


class ErrorDetail(ResponseBody):
    """What is wrong with a request."""

    code: str = Field(description="One word for programs.", examples=["unknown_id"])
    message: str = Field(description="One line for people.", examples=["ids: 'd7' is not in the index"])


class ErrorResponse(ResponseBody):
    """Every response that is not a success."""

    error: ErrorDetail


class Status(ResponseBody):
    """The server's health."""

    status: str = Field(examples=["ok"])


class WarningDetail(ResponseBody):
    """One of the library's warnings."""

    kind: str = Field(description="The class of the library's warning.", examples=["TruncatedTextWarning"])
    message: str = Field(description="One line for people.")
