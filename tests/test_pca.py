"""Principal directions: orientation, order, optimality and errors."""

from __future__ import annotations

import numpy as np
import pytest

from serotine.pca import principal_directions

RNG = np.random.default_rng(0)
SCALES = np.array([0.1, 5.0, 1.0, 3.0])
VECTORS = (RNG.standard_normal((500, 4)) * SCALES).astype(np.float32)


def test_rows_are_orthonormal_directions_largest_first() -> None:
    directions = principal_directions([VECTORS], 3)
    assert directions.shape == (3, 4)
    assert directions.dtype == np.float32
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-6)
    assert np.abs(directions).argmax(axis=1).tolist() == [1, 3, 2]
    assert (directions[[0, 1, 2], [1, 3, 2]] > 0).all()


def test_the_sample_may_come_in_arrays_of_any_size_and_float_type() -> None:
    expected = principal_directions([VECTORS], 2)
    np.testing.assert_allclose(
        principal_directions(iter([VECTORS[:7], VECTORS[7:7], VECTORS[7:]]), 2), expected, atol=1e-6
    )
    np.testing.assert_allclose(principal_directions([VECTORS.astype(np.float16)], 2), expected, atol=1e-2)


def test_the_mean_is_not_subtracted() -> None:
    shifted = VECTORS + np.array([100.0, 0, 0, 0], dtype=np.float32)
    assert np.abs(principal_directions([shifted], 1)[0]).argmax() == 0


def test_all_directions_preserve_every_dot_product() -> None:
    projected = VECTORS @ principal_directions([VECTORS], 4).T
    np.testing.assert_allclose(projected @ projected.T, VECTORS @ VECTORS.T, atol=1e-3)


@pytest.mark.parametrize("dim", [0, 5])
def test_a_dim_out_of_range_is_rejected(dim: int) -> None:
    with pytest.raises(ValueError, match=f"dim: must be between 1 and 4, the directions of 500 vectors, got {dim}"):
        principal_directions([VECTORS], dim)


def test_fewer_vectors_than_directions_are_rejected() -> None:
    with pytest.raises(ValueError, match="dim: must be between 1 and 2, the directions of 2 vectors, got 3"):
        principal_directions([VECTORS[:2]], 3)
    with pytest.raises(ValueError, match="dim: must be between 1 and 0"):
        principal_directions([], 1)
