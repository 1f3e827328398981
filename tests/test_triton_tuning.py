from __future__ import annotations

import pytest
import triton_device  # noqa: F401  (skips where torch or triton is missing, and chooses the interpreter)
from hypothesis import given
from hypothesis import strategies as st

from serotine.maxsim.triton.tuning import bucket, configs, plausible, tile_shape


@given(st.integers(0, 10**9))
def test_bucket_is_the_power_of_two_above(value: int) -> None:
    rounded = bucket(value, 16, 1024)
    assert rounded & (rounded - 1) == 0
    assert 16 <= rounded <= 1024
    if 16 <= value <= 1024:
        assert value <= rounded < 2 * value


def test_growing_batches_meet_few_keys() -> None:
    def key(queries: int, query_tokens: int, document_tokens: int) -> tuple[int, ...]:
        return tile_shape(query_tokens, document_tokens, 128, 2, queries=queries, exact_fp32=False)

    assert len({key(queries, 32, 180) for queries in range(1, 5000)}) <= 2
    assert len({key(64, 32, tokens) for tokens in range(1, 5000)}) <= 5
    assert len({key(64, tokens, 180) for tokens in range(1, 1000)}) <= 3


@pytest.mark.parametrize(("dim", "item_bytes", "exact"), [(128, 2, False), (256, 2, False), (128, 4, False)])
def test_common_dimensions_stay_resident(dim: int, item_bytes: int, exact: bool) -> None:
    assert tile_shape(32, 180, dim, item_bytes, queries=1, exact_fp32=exact).block_k >= dim


def test_pruning_always_leaves_a_configuration() -> None:
    for length_bucket in (64, 128, 1024):
        for precision in ("ieee", "tf32"):
            assert plausible(configs(), {"length_bucket": length_bucket}, precision=precision)
