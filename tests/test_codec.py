"""Residual codes: the same bytes on every instruction set, and an error that is never above its bound."""

from __future__ import annotations

import numpy as np
import pytest
from core_cases import Coded, offsets_of
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine import _core, maxsim
from serotine.index import codec_reference

PATHS = maxsim.capabilities().supported
DIMS = st.one_of(
    st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 384]), st.integers(1, 300)
)


def decoded(coded: Coded) -> tuple[np.ndarray, np.ndarray]:
    tokens, dim = coded.vectors.shape
    part = coded.put_into(_core.Part(offsets_of([tokens]), np.array([0]), None))
    rows, scales = np.empty((tokens, dim), np.int8), np.empty(tokens, np.float32)
    _core.decode_residuals(part, 0, rows, scales)
    return rows, scales


@given(
    dim=DIMS,
    tokens=st.integers(0, 70),
    bits=st.sampled_from([2, 4, 8]),
    wide=st.booleans(),
    seed=st.integers(0, 9),
    spread=st.sampled_from([0.0, 0.1, 1.0, 40.0]),
)
@settings(max_examples=60, deadline=None)
def test_every_path_encodes_and_decodes_the_same(
    dim: int, tokens: int, bits: int, wide: bool, seed: int, spread: float
) -> None:
    vectors = np.random.default_rng(seed).standard_normal((tokens, dim)).astype(np.float32) * np.float32(spread)
    first = None
    try:
        for path in PATHS:
            maxsim.use(path)
            coded = Coded(vectors, bits, count=5, seed=seed, wide=wide)
            rows, scales = decoded(coded)
            centroids = coded.centroids[coded.ids].reshape(tokens, dim)
            np.testing.assert_array_equal(rows, codec_reference.decode(centroids, coded.steps, coded.residuals, bits))
            np.testing.assert_array_equal(scales, coded.scales[coded.ids])
            found = (coded.steps.tobytes(), coded.errors.tobytes(), coded.residuals.tobytes())
            first = first or found
            assert found == first, path
            bound = np.array([_core.error_bound(int(byte)) for byte in coded.errors])
            error = np.linalg.norm(vectors.astype(np.float64) - rows * scales.astype(np.float64)[:, None], axis=1)
            assert (error <= bound * scales).all()
    finally:
        maxsim.use("auto")


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 6e4, 1e30])
def test_the_error_bound_holds_for_any_size(bits: int, size: float) -> None:
    vectors = (np.random.default_rng(1).standard_normal((50, 24)) * size).astype(np.float32)
    # And some that no code of this codebook can reach.
    vectors[::7] *= 50
    coded = Coded(vectors, bits, count=3)
    rows, scales = decoded(coded)
    error = np.linalg.norm(vectors.astype(np.float64) - rows * scales.astype(np.float64)[:, None], axis=1)
    bound = np.array([_core.error_bound(int(byte)) for byte in coded.errors]) * scales
    assert (error <= bound).all()
    # A bound that is far above would be true and useless.
    finite = np.isfinite(bound)
    assert finite.any()
    assert (bound[finite] <= error[finite] * 1.06 + scales[finite] * 0.06).all()


def test_what_lies_beyond_all_bounds_says_so() -> None:
    vectors = np.full((2, 8), 3e38, dtype=np.float32)
    codebook = _core.Codebook(np.ones((1, 8), np.int8), np.full(1, 1e-20, np.float32))
    steps, errors, residuals = np.empty(2, np.uint8), np.empty(2, np.uint8), np.empty((2, 4), np.uint8)
    _core.encode_residuals(codebook, vectors, np.zeros(2, np.int32), 4, steps, errors, residuals)
    assert errors.tolist() == [255, 255]
    assert _core.error_bound(255) == np.inf


def test_more_bits_rebuild_better() -> None:
    vectors = np.random.default_rng(2).standard_normal((400, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    errors = []
    for bits in (2, 4, 8):
        # Far from its centroid: the residual is what is coded.
        coded = Coded(vectors, bits, count=1)
        coded.centroids[:] = 0
        coded.codebook = _core.Codebook(coded.centroids, coded.scales)
        _core.encode_residuals(coded.codebook, vectors, coded.ids, bits, coded.steps, coded.errors, coded.residuals)
        rows, scales = decoded(coded)
        errors.append(float(np.linalg.norm(vectors - rows * scales[:, None], axis=1).mean()))
    # The best quantisers of a Gaussian leave 0.34 and 0.097 of its norm (Max 1960).
    assert errors[0] == pytest.approx(0.34, abs=0.02)
    assert errors[1] == pytest.approx(0.1, abs=0.02)
    assert errors[2] < 0.03


def test_wrong_input_is_refused() -> None:
    book = _core.Codebook(np.ones((2, 4), np.int8), np.ones(2, np.float32))
    vectors, ids = np.ones((3, 4), np.float32), np.zeros(3, np.int32)
    out = (np.empty(3, np.uint8), np.empty(3, np.uint8), np.empty((3, 2), np.uint8))
    with pytest.raises(ValueError, match="bits must be 2, 4 or 8"):
        _core.encode_residuals(book, vectors, ids, 3, *out)
    with pytest.raises(ValueError, match="wrong dimension"):
        _core.encode_residuals(book, np.ones((3, 5), np.float32), ids, 4, *out)
    with pytest.raises(ValueError, match="a centroid id is out of range"):
        _core.encode_residuals(book, vectors, ids + 2, 4, *out)
    with pytest.raises(ValueError, match="one id, step, error and residual a vector"):
        _core.encode_residuals(book, vectors, ids[:2], 4, *out)
    with pytest.raises(ValueError, match="residuals have the wrong width"):
        _core.encode_residuals(book, vectors, ids, 8, *out)
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="a centroid's scale is not positive"):
            _core.Codebook(np.ones((1, 4), np.int8), np.full(1, scale, np.float32))
    with pytest.raises(ValueError, match="a codebook needs centroids"):
        _core.Codebook(np.ones((0, 4), np.int8), np.ones(0, np.float32))
