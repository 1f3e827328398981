"""Residual codes: the same bytes on every instruction set, and errors within their bounds."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import codec_reference
from helpers.core_cases import TokenCodes, offsets_of
from hypothesis import given, settings
from hypothesis import strategies as st

from serotine import _core, maxsim

PATHS = maxsim.capabilities().supported
DIMS = st.one_of(
    st.sampled_from([1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 384]), st.integers(1, 300)
)


def decode(codes: TokenCodes) -> tuple[np.ndarray, np.ndarray]:
    tokens, dim = codes.vectors.shape
    segment = codes.attach_to(_core.Segment(offsets_of([tokens]), np.array([0]), None))
    rows, scales = np.empty((tokens, dim), np.int8), np.empty(tokens, np.float32)
    _core.decode_residuals(segment, 0, rows, scales)
    return rows, scales


@given(
    dim=DIMS,
    tokens=st.integers(0, 70),
    bits=st.sampled_from([2, 4, 8]),
    uint32_ids=st.booleans(),
    seed=st.integers(0, 9),
    spread=st.sampled_from([0.0, 0.1, 1.0, 40.0]),
)
@settings(max_examples=60, deadline=None)
def test_every_path_encodes_and_decodes_the_same(
    dim: int, tokens: int, bits: int, uint32_ids: bool, seed: int, spread: float
) -> None:
    vectors = np.random.default_rng(seed).standard_normal((tokens, dim)).astype(np.float32) * np.float32(spread)
    first = None
    try:
        for path in PATHS:
            maxsim.use(path)
            codes = TokenCodes(vectors, bits, count=5, seed=seed, uint32_ids=uint32_ids)
            rows, scales = decode(codes)
            centroids = codes.centroids[codes.ids].reshape(tokens, dim)
            np.testing.assert_array_equal(
                rows, codec_reference.decode(centroids, codes.residual_scales, codes.residuals, bits)
            )
            np.testing.assert_array_equal(scales, codes.scales[codes.ids])
            encoded = (codes.residual_scales.tobytes(), codes.errors.tobytes(), codes.residuals.tobytes())
            first = first or encoded
            assert encoded == first, path
            bound = np.array([_core.error_bound(int(byte)) for byte in codes.errors])
            error = np.linalg.norm(vectors.astype(np.float64) - rows * scales.astype(np.float64)[:, None], axis=1)
            assert (error <= bound * scales).all()
    finally:
        maxsim.use("auto")


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 6e4, 1e30])
def test_the_error_bound_holds_for_any_size(bits: int, size: float) -> None:
    vectors = (np.random.default_rng(1).standard_normal((50, 24)) * size).astype(np.float32)
    # Some are out of reach of every code of this codebook.
    vectors[::7] *= 50
    codes = TokenCodes(vectors, bits, count=3)
    rows, scales = decode(codes)
    error = np.linalg.norm(vectors.astype(np.float64) - rows * scales.astype(np.float64)[:, None], axis=1)
    bound = np.array([_core.error_bound(int(byte)) for byte in codes.errors]) * scales
    assert (error <= bound).all()
    # A bound far above the error would hold but be useless.
    finite = np.isfinite(bound)
    assert finite.any()
    assert (bound[finite] <= error[finite] * 1.06 + scales[finite] * 0.06).all()


@given(
    dim=DIMS,
    tokens=st.integers(1, 80),
    first=st.integers(0, 79),
    bits=st.sampled_from([2, 4, 8]),
    uint32_ids=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_every_path_decodes_any_bytes_like_numpy(
    dim: int, tokens: int, first: int, bits: int, uint32_ids: bool, seed: int
) -> None:
    """Bytes that no encoder writes: every code, every residual scale, and centroids at both ends of int8."""
    rng = np.random.default_rng(seed)
    centroids = rng.integers(-128, 128, (4, dim)).astype(np.int8)
    centroids[0], centroids[1] = 127, -128
    codes = TokenCodes(np.ones((tokens, dim), np.float32), bits, count=4, seed=seed, uint32_ids=uint32_ids)
    codes.codebook = _core.Codebook(centroids, np.array([1, 2, 3, 4], np.float32))
    codes.residual_scales[:] = rng.choice([0, 1, 128, 254, 255], tokens)
    codes.residuals[:] = rng.integers(0, 256, codes.residuals.shape)
    segment = codes.attach_to(_core.Segment(offsets_of([tokens]), np.array([0]), None))
    first = min(first, tokens)
    expected = codec_reference.decode(centroids[codes.ids], codes.residual_scales, codes.residuals, bits)[first:]
    try:
        for path in PATHS:
            maxsim.use(path)
            rows, scales = np.empty((tokens - first, dim), np.int8), np.empty(tokens - first, np.float32)
            _core.decode_residuals(segment, first, rows, scales)
            np.testing.assert_array_equal(rows, expected, err_msg=path)
            np.testing.assert_array_equal(scales, codes.ids[first:] + 1)
    finally:
        maxsim.use("auto")


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_sums_saturate_at_both_ends_of_int8(path: str, bits: int) -> None:
    """The outermost codes with the largest scale, on centroids at the ends of int8."""
    for dim in (1, 63, 64, 65, 200):
        codes = TokenCodes(np.ones((2, dim), np.float32), bits, count=2)
        codes.codebook = _core.Codebook(np.array([[127] * dim, [-128] * dim], np.int8), np.ones(2, np.float32))
        codes.ids[:] = (0, 1)
        codes.residual_scales[:] = 255
        codes.residuals[0], codes.residuals[1] = 255, 0
        rows, _ = decode(codes)
        assert (rows[0] == 127).all()
        assert (rows[1] == -128).all()


def test_the_layout_is_as_documented() -> None:
    """With 4 bits and 5 dimensions a row is 3 bytes: dimensions 0, 1, 2 in the low bits, 3 and 4 in the high bits."""
    codebook = _core.Codebook(np.zeros((1, 5), np.int8), np.ones(1, np.float32))
    levels = codec_reference.LEVELS_4
    used = np.array([0, 15, 8, 3, 12])
    residual_scales, errors, residuals = np.empty(1, np.uint8), np.empty(1, np.uint8), np.empty((1, 3), np.uint8)
    _core.encode_residuals(
        codebook,
        levels[used][None].astype(np.float32),
        np.zeros(1, np.int32),
        4,
        residual_scales,
        errors,
        residuals,
    )
    assert residuals[0].tolist() == [0 | 3 << 4, 15 | 12 << 4, 8]
    assert codec_reference.codes_of(residuals, 5, 4)[0].tolist() == used.tolist()


@given(dim=DIMS, bits=st.sampled_from([2, 4, 8]), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_bound_holds_for_extreme_vectors(dim: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal((6, dim))
    spike = np.zeros((1, dim))
    spike[0, rng.integers(dim)] = 77
    vectors = np.concatenate(
        [
            normal,
            np.zeros((1, dim)),
            np.ones((1, dim)),
            np.full((1, dim), -3e4),
            spike,
            *(normal * size for size in (1e-30, 1e-6, 1e-2, 100, 1e4, 1e12, 1e30)),
        ]
    ).astype(np.float32)
    codes = TokenCodes(normal.astype(np.float32), bits, count=3, seed=seed)
    ids = rng.integers(0, 3, len(vectors)).astype(np.int32)
    codes.vectors, codes.ids = vectors, ids
    codes.residual_scales, codes.errors = np.empty(len(vectors), np.uint8), np.empty(len(vectors), np.uint8)
    codes.residuals = np.empty((len(vectors), (dim * bits + 7) // 8), np.uint8)
    _core.encode_residuals(codes.codebook, vectors, ids, bits, codes.residual_scales, codes.errors, codes.residuals)
    rows, scales = decode(codes)
    error = np.linalg.norm(vectors.astype(np.float64) - rows * scales.astype(np.float64)[:, None], axis=1)
    bound = np.array([_core.error_bound(int(byte)) for byte in codes.errors]) * scales
    assert (error <= bound).all()
    # Only vectors out of reach of every code have no bound.
    assert np.isfinite(bound[:10][np.abs(vectors[:10]).max(axis=1) < 50]).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_vector_equal_to_its_centroid_is_rebuilt_exactly(path: str, bits: int) -> None:
    centroids = np.random.default_rng(3).integers(-128, 128, (20, 77)).astype(np.int8)
    scales = np.linspace(0.01, 3, 20).astype(np.float32)
    codes = TokenCodes(centroids * scales[:, None], bits, count=20)
    codes.codebook, codes.ids = _core.Codebook(centroids, scales), np.arange(20, dtype=np.int32)
    _core.encode_residuals(
        codes.codebook, codes.vectors, codes.ids, bits, codes.residual_scales, codes.errors, codes.residuals
    )
    rows, rebuilt_scales = decode(codes)
    np.testing.assert_array_equal(rows, centroids)
    np.testing.assert_array_equal(rebuilt_scales, scales)
    assert max(_core.error_bound(int(byte)) for byte in codes.errors) < 0.06


def test_error_bounds_rise_by_a_fifteenth_of_an_octave() -> None:
    bounds = np.array([_core.error_bound(byte) for byte in range(256)])
    np.testing.assert_allclose(bounds[:255], 2 ** ((np.arange(255) - 64) / 15), rtol=1e-6)
    assert bounds[255] == np.inf


def test_errors_beyond_all_bounds_are_infinite() -> None:
    vectors = np.full((2, 8), 3e38, dtype=np.float32)
    codebook = _core.Codebook(np.ones((1, 8), np.int8), np.full(1, 1e-20, np.float32))
    residual_scales, errors, residuals = np.empty(2, np.uint8), np.empty(2, np.uint8), np.empty((2, 4), np.uint8)
    _core.encode_residuals(codebook, vectors, np.zeros(2, np.int32), 4, residual_scales, errors, residuals)
    assert errors.tolist() == [255, 255]
    assert _core.error_bound(255) == np.inf


def test_more_bits_have_smaller_errors() -> None:
    vectors = np.random.default_rng(2).standard_normal((400, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    errors = []
    for bits in (2, 4, 8):
        # All centroids are zero, so that the residual is the whole vector.
        codes = TokenCodes(vectors, bits, count=1)
        codes.centroids[:] = 0
        codes.codebook = _core.Codebook(codes.centroids, codes.scales)
        _core.encode_residuals(
            codes.codebook, vectors, codes.ids, bits, codes.residual_scales, codes.errors, codes.residuals
        )
        rows, scales = decode(codes)
        errors.append(float(np.linalg.norm(vectors - rows * scales[:, None], axis=1).mean()))
    # The optimal quantizers of a Gaussian leave errors of 0.34 and 0.097 of its norm (Max 1960).
    assert errors[0] == pytest.approx(0.34, abs=0.02)
    assert errors[1] == pytest.approx(0.1, abs=0.02)
    assert errors[2] < 0.03


def test_no_vector_has_a_larger_error_with_more_bits() -> None:
    """Holds for every vector of Gaussian residuals, not only on average."""
    rng = np.random.default_rng(6)
    for dim in (24, 96, 128, 300):
        vectors = rng.standard_normal((200, dim)).astype(np.float32)
        bounds = []
        for bits in (2, 4, 8):
            codes = TokenCodes(vectors, bits, count=4)
            rows, scales = decode(codes)
            bounds.append(np.linalg.norm(vectors - rows * scales[:, None], axis=1))
        assert (bounds[1] < bounds[0]).all()
        assert (bounds[2] < bounds[1]).all()


def test_tokens_outside_a_segment_raise() -> None:
    codes = TokenCodes(np.ones((3, 4), np.float32), 4, count=2)
    segment = codes.attach_to(_core.Segment(offsets_of([3]), np.array([0]), None))
    for first, count in ((0, 4), (3, 1), (4, 0), (2**63, 2**4)):
        with pytest.raises(ValueError, match="tokens out of range"):
            _core.decode_residuals(segment, first, np.empty((count, 4), np.int8), np.empty(count, np.float32))
    with pytest.raises(ValueError, match="wrong shape"):
        _core.decode_residuals(segment, 0, np.empty((3, 5), np.int8), np.empty(3, np.float32))
    with pytest.raises(ValueError, match="wrong shape"):
        _core.decode_residuals(segment, 0, np.empty((3, 4), np.int8), np.empty(2, np.float32))
    bare = _core.Segment(offsets_of([3]), np.array([0]), np.zeros((3, 4), np.uint16))
    with pytest.raises(ValueError, match="the segment has no codes"):
        _core.decode_residuals(bare, 0, np.empty((3, 4), np.int8), np.empty(3, np.float32))


def test_invalid_input_raises() -> None:
    codebook = _core.Codebook(np.ones((2, 4), np.int8), np.ones(2, np.float32))
    vectors, ids = np.ones((3, 4), np.float32), np.zeros(3, np.int32)
    out = (np.empty(3, np.uint8), np.empty(3, np.uint8), np.empty((3, 2), np.uint8))
    with pytest.raises(ValueError, match="bits must be 2, 4 or 8"):
        _core.encode_residuals(codebook, vectors, ids, 3, *out)
    with pytest.raises(ValueError, match="wrong dimension"):
        _core.encode_residuals(codebook, np.ones((3, 5), np.float32), ids, 4, *out)
    with pytest.raises(ValueError, match="a centroid id is out of range"):
        _core.encode_residuals(codebook, vectors, ids + 2, 4, *out)
    with pytest.raises(ValueError, match="one row per vector"):
        _core.encode_residuals(codebook, vectors, ids[:2], 4, *out)
    with pytest.raises(ValueError, match="residuals have the wrong width"):
        _core.encode_residuals(codebook, vectors, ids, 8, *out)
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="the scale of a centroid must be positive"):
            _core.Codebook(np.ones((1, 4), np.int8), np.full(1, scale, np.float32))
    for spread in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="the spread of a centroid must be at least 0"):
            _core.Codebook(np.ones((1, 4), np.int8), np.ones(1, np.float32), np.full(1, spread, np.float32))
    with pytest.raises(ValueError, match="one spread per centroid"):
        _core.Codebook(np.ones((1, 4), np.int8), np.ones(1, np.float32), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="a codebook needs centroids"):
        _core.Codebook(np.ones((0, 4), np.int8), np.ones(0, np.float32))
