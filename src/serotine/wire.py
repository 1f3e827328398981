"""What both ends of the wire must agree on: error codes, vectors as base64, numbers that JSON lacks."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import errors

# Before base64 of float32: a question's vectors are scored as they are, a document's are stored as float16.
_WIDE = "float32:"

ERRORS: dict[str, type[Exception]] = {
    "unknown_index": errors.NotAnIndexError,
    "unknown_id": errors.UnknownIdError,
    "duplicate_id": errors.DuplicateIdError,
    "index_exists": errors.IndexExistsError,
    "index_locked": errors.IndexLockedError,
    "index_damaged": errors.IndexDamagedError,
    "read_only": errors.ReadOnlyError,
    "encoder_error": errors.EncoderError,
    "input_file": errors.InputFileError,
    "bad_type": TypeError,
    "bad_value": ValueError,
}
"""The exception that the library raises for each code of an error; other codes are the server's own."""

STATUS: dict[str, int] = {
    "unknown_index": 404,
    "unknown_id": 404,
    "duplicate_id": 409,
    "index_exists": 409,
    "index_locked": 503,
    "index_damaged": 500,
    "read_only": 403,
    "encoder_error": 422,
    "input_file": 422,
    "bad_type": 422,
    "bad_value": 422,
}
"""The HTTP status each of these codes comes with."""


def code_of(error: Exception) -> str | None:
    """The code of an exception of the library, or None for one that is not foreseen."""
    # UnknownIdError is a KeyError too, DuplicateIdError a ValueError: the table lists the library's own first.
    for code, kind in ERRORS.items():
        if isinstance(error, kind):
            return code
    return "server_error" if isinstance(error, errors.SerotineError) else None


def pack(vectors: NDArray[np.floating[Any]]) -> str:
    """Token vectors as base64 of little-endian numbers, row by row: float16, or, marked so, float32."""
    if vectors.dtype == np.float16:
        return base64.b64encode(np.ascontiguousarray(vectors, dtype="<f2").tobytes()).decode("ascii")
    return _WIDE + base64.b64encode(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).decode("ascii")


def unpack(data: str, dim: int, name: str) -> NDArray[np.floating[Any]]:
    """The vectors (tokens, dim) that `pack` wrote.

    Raises:
        ValueError: not base64, or of a length that is no whole number of vectors.
    """
    dtype = np.dtype("<f4" if data.startswith(_WIDE) else "<f2")
    try:
        raw = base64.b64decode(data.removeprefix(_WIDE), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name}: is not base64; send little-endian float16, row by row") from None
    size = dtype.itemsize * dim
    if len(raw) % size:
        raise ValueError(
            f"{name}: {len(raw):,} bytes are no whole number of {dtype.name} vectors of dimension {dim} ({size} bytes)"
        )
    return np.frombuffer(raw, dtype=dtype).reshape(-1, dim)


def finite(number: float) -> float | None:
    """JSON has no infinity and no NaN: both are null on the wire."""
    return number if math.isfinite(number) else None
