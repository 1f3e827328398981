"""Token vectors as blobs: what is written is read back, and lengths are checked."""

from __future__ import annotations

import doctest
import re
import warnings
from typing import Any

import numpy as np
import pytest

from serotine import maxsim
from serotine.integrations import pack_vectors, unpack_vectors
from serotine.integrations.vector_blobs import BlobDtype

VECTORS = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float16).astype(np.float32)


def test_floats_are_read_back_as_they_were() -> None:
    for dtype, size in (("float16", 2), ("float32", 4)):
        blob = pack_vectors(VECTORS, dtype)  # type: ignore[arg-type]
        assert len(blob) == 5 * 12 * size
        assert (unpack_vectors(blob, 12, dtype) == VECTORS).all()  # type: ignore[arg-type]


def test_int8_is_what_the_library_rounds_to() -> None:
    codes, scales = maxsim.quantize(VECTORS)
    blob = pack_vectors(VECTORS, "int8")
    assert len(blob) == 5 * (12 + 4)
    assert (unpack_vectors(blob, 12, "int8") == codes * scales[:, None]).all()
    # A token has its codes, and then its scale, little-endian.
    assert blob[:12] == codes[0].tobytes()
    assert blob[12:16] == scales[0].astype("<f4").tobytes()


def test_no_tokens() -> None:
    assert pack_vectors(VECTORS[:0], "int8") == b""
    assert unpack_vectors(b"", 12).shape == (0, 12)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"vectors: must have shape \(tokens, dim\), got \(12,\)"):
        pack_vectors(VECTORS[0])
    with pytest.raises(ValueError, match="dtype: must be one of 'float16', 'int8', 'float32', got 'float64'"):
        pack_vectors(VECTORS, "float64")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"blob: its length must be a multiple of 24 bytes \(12 dimensions of float16\), got 25 bytes"
    ):
        unpack_vectors(bytes(25), 12)
    with pytest.raises(TypeError, match="blob: must be bytes, got str; pack_vectors writes them"):
        unpack_vectors("1234", 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dim: must be an int of at least 1, got None"):
        unpack_vectors(b"1234", None)  # type: ignore[arg-type]


DTYPES: tuple[BlobDtype, ...] = ("float16", "int8", "float32")
NUMBERS = "vectors: must be floats of shape (tokens, dim), got"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[0.0, 1.0], [2.0, np.nan]], "vectors: token 1 contains NaN or infinity; clean it"),
        (np.array([[np.inf, 1]]), "vectors: token 0 contains NaN or infinity; clean it"),
        (np.array([[1 + 2j, 1]]), f"{NUMBERS} dtype complex128; pass real numbers"),
        (np.array([[True, False]]), f"{NUMBERS} dtype bool; pass real numbers"),
        ([["1", "2"]], f"{NUMBERS} dtype <U1; pass real numbers"),
        ([[None, 1.0]], f"{NUMBERS} dtype object; pass real numbers"),
        (None, f"{NUMBERS} None"),
        ("text", f"{NUMBERS} str"),
        ([[1, 2], [3]], "vectors: token 1 must have 2 dimensions, got 1"),
        ([np.zeros(2), np.zeros(2), np.zeros(3)], "vectors: token 2 must have 2 dimensions, got 3"),
        ([[1, 2], 3], "vectors: must be floats of shape (tokens, dim), got [[1, 2], 3]"),
        (np.zeros((2, 0)), "vectors: must have shape (tokens, dim), got (2, 0)"),
    ],
)
def test_what_a_blob_cannot_hold_is_refused_with_its_token(vectors: Any, message: str, dtype: BlobDtype) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError)) as caught:
            pack_vectors(vectors, dtype)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (1e6, "float16", "float16 (65504), got 1e+06; scale the vectors down, or pack them as 'float32'"),
        (-1e300, "float16", "float16 (65504), got 1e+300; scale the vectors down, or pack them as 'float32'"),
        (1e300, "float32", "float32 (3.4028e+38), got 1e+300; scale the vectors down"),
        (1e300, "int8", "float32 (3.4028e+38), got 1e+300; scale the vectors down"),
    ],
)
def test_a_value_beyond_the_dtype_is_refused(value: float, dtype: BlobDtype, message: str) -> None:
    with pytest.raises(ValueError, match=f"^vectors: token 1 has a value beyond {re.escape(message)}$"):
        pack_vectors(np.array([[0.0, 1.0], [value, 1.0]]), dtype)
    assert unpack_vectors(pack_vectors(np.full((1, 2), 65_504), dtype), 2, dtype).max() == 65_504


def test_the_examples_of_the_docstrings_run() -> None:
    for function in (pack_vectors, unpack_vectors):
        (test,) = doctest.DocTestFinder().find(function, function.__name__)
        assert doctest.DocTestRunner().run(test).failed == 0
        assert test.examples
