"""Token vectors as blobs: what is written is read back, and lengths are checked."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from serotine import maxsim
from serotine.integrations import pack_vectors, unpack_vectors

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
    with pytest.raises(ValueError, match="vectors: must be finite"):
        pack_vectors(np.full((1, 2), np.nan), "int8")


def test_the_examples_of_the_docstrings_run() -> None:
    for function in (pack_vectors, unpack_vectors):
        (test,) = doctest.DocTestFinder().find(function, function.__name__)
        assert doctest.DocTestRunner().run(test).failed == 0
        assert test.examples
