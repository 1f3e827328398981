"""What all models have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serotine.texts import is_text


def _text(value: str) -> str:
    if not is_text(value):
        raise ValueError("holds a lone surrogate, which is no text")
    return value


Text = Annotated[str, AfterValidator(_text)]
Vectors = Annotated[
    list[list[Annotated[float, Field(allow_inf_nan=False)]]] | str,
    Field(
        description="Token vectors (tokens, dim): rows of numbers, or base64 of little-endian float16, row by row; "
        "of float32 after `float32:`.",
        examples=[[[0.6, 0.8], [1.0, 0.0]], "zTg6Og=="],
    ),
]
Where = Annotated[
    dict[str, Any] | None,
    Field(
        description="Only documents whose metadata match; the filter language of the library.",
        examples=[{"lang": "en", "year": {">=": 2020}}],
    ),
]


class Asked(BaseModel):
    """A request's body: what it does not know it refuses, so that a misspelt option is no silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Told(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True)


class ErrorBody(Told):
    """What went wrong."""

    code: str = Field(description="One word for programs.", examples=["unknown_id"])
    message: str = Field(description="One line for people.", examples=["ids: 'd7' is not in the index"])


class ErrorAnswer(Told):
    """Every answer that is no success."""

    error: ErrorBody


class Status(Told):
    """How the server is."""

    status: str = Field(examples=["ok"])
