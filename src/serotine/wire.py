"""The wire format of server and client: error codes, vectors as base64, numbers that JSON lacks."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import errors

# Prefix of base64 of float32: queries are scored in float32, documents are stored as float16.
_FLOAT32_PREFIX = "float32:"

ERRORS: dict[str, type[Exception]] = {
    "unknown_index": errors.NotAnIndexError,
    "unknown_id": errors.UnknownIdError,
    "duplicate_id": errors.DuplicateIdError,
    "index_exists": errors.IndexExistsError,
    "index_locked": errors.IndexLockedError,
    "index_damaged": errors.IndexDamagedError,
    "index_replaced": errors.IndexReplacedError,
    "shard_unavailable": errors.ShardUnavailableError,
    "read_only": errors.ReadOnlyError,
    "encoder_error": errors.EncoderError,
    "input_file": errors.InputFileError,
    "bad_type": TypeError,
    "bad_value": ValueError,
}
"""The library's exception for each error code; the other codes belong to the server."""

STATUS: dict[str, int] = {
    "unknown_index": 404,
    "unknown_id": 404,
    "duplicate_id": 409,
    "index_exists": 409,
    "index_locked": 503,
    "index_damaged": 500,
    "index_replaced": 503,
    "shard_unavailable": 503,
    "read_only": 403,
    "encoder_error": 422,
    "input_file": 422,
    "bad_type": 422,
    "bad_value": 422,
}
"""The HTTP status of each of these codes."""

ANSWER_TOO_LARGE = "answer_too_large"
"""The code of a response that would be larger than the server allows: less of it can be asked for."""

LIBRARY_CLIENT = ("Serotine-Client", "python")
"""The header of a client whose caller reads messages as those of `Index`, arguments named as in Python."""


WARNINGS: dict[str, type[errors.SerotineWarning]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.SerotineWarning)
}
"""The library's warnings by the names that responses have."""


def error_code(error: Exception) -> str | None:
    """Return the code of an exception of the library, or None for any other."""
    # DuplicateIdError is a ValueError too: the table lists the library's own classes first.
    for code, kind in ERRORS.items():
        if isinstance(error, kind):
            return code
    return "server_error" if isinstance(error, errors.SerotineError) else None


def pack(vectors: NDArray[np.floating[Any]]) -> str:
    """Return token vectors as base64 of little-endian numbers, row by row: float16, or prefixed float32."""
    if vectors.dtype == np.float16:
        return base64.b64encode(np.ascontiguousarray(vectors, dtype="<f2").tobytes()).decode("ascii")
    return _FLOAT32_PREFIX + base64.b64encode(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).decode("ascii")


def unpack(data: str, dim: int, name: str) -> NDArray[np.floating[Any]]:
    """Return the vectors (tokens, dim) that `pack` encoded.

    Raises:
        ValueError: not base64, or not a whole number of vectors.
    """
    dtype = np.dtype("<f4" if data.startswith(_FLOAT32_PREFIX) else "<f2")
    try:
        raw = base64.b64decode(data.removeprefix(_FLOAT32_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name}: not base64; send little-endian float16, row by row") from None
    size = dtype.itemsize * dim
    if len(raw) % size:
        raise ValueError(
            f"{name}: must be whole {dtype.name} vectors of dimension {dim} ({size} bytes each), got {len(raw):,} bytes"
        )
    return np.frombuffer(raw, dtype=dtype).reshape(-1, dim)


def finite(number: float) -> float | None:
    """Return the number, or None for infinity and NaN, which JSON lacks."""
    return number if math.isfinite(number) else None
