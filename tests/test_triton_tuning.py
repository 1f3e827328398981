from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from helpers.triton_device import DEVICE, cuda_path
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")
triton = pytest.importorskip("triton", reason="triton is not installed")

from serotine.maxsim import torch as maxsim  # noqa: E402
from serotine.maxsim.triton.tile import score_tiles  # noqa: E402
from serotine.maxsim.triton.tuning import bucket, configs, plausible, tile_shape  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


@given(st.integers(0, 10**9))
def test_bucket_is_the_power_of_two_above(value: int) -> None:
    rounded = bucket(value, 16, 1024)
    assert rounded & (rounded - 1) == 0
    assert 16 <= rounded <= 1024
    if 16 <= value <= 1024:
        assert value <= rounded < 2 * value


def test_growing_batches_use_few_tile_shapes() -> None:
    def key(queries: int, query_tokens: int, document_tokens: int) -> tuple[int, ...]:
        return tile_shape(query_tokens, document_tokens, 128, 2, queries=queries, exact_fp32=False)

    assert len({key(queries, 32, 180) for queries in range(1, 5000)}) <= 2
    assert len({key(64, 32, tokens) for tokens in range(1, 5000)}) <= 5
    assert len({key(64, tokens, 180) for tokens in range(1, 1000)}) <= 3


def test_a_new_batch_size_is_not_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def bench(kernel_call: Callable[[], None], quantiles: Any) -> list[float]:
        timed.append(quantiles)
        kernel_call()
        return [1.0, 1.0, 1.0]

    candidates = [triton.Config({"block_d": block_d}, num_warps=4, num_stages=2) for block_d in (64, 128)]
    monkeypatch.setattr(score_tiles, "configs", candidates)
    monkeypatch.setattr(score_tiles, "cache", {})
    monkeypatch.setitem(vars(score_tiles), "do_bench", bench)

    def rerank(batch: int, candidates: int, document_tokens: int) -> None:
        maxsim.score_candidates_padded(
            torch.ones(batch, 4, 16, dtype=torch.float16, device=DEVICE),
            torch.ones(batch, candidates, document_tokens, 16, dtype=torch.float16, device=DEVICE),
            torch.full((batch,), 4, device=DEVICE),
            torch.full((batch, candidates), document_tokens, device=DEVICE),
        )

    with cuda_path():
        rerank(1, 1, 70)
        assert len(timed) == len(candidates)
        for batch, count, tokens in ((2, 1, 70), (1, 5, 100), (3, 2, 128), (4, 1, 65)):
            rerank(batch, count, tokens)
        assert len(timed) == len(candidates)
        rerank(1, 1, 200)  # another bucket of document lengths
        assert len(timed) == 2 * len(candidates)
        rerank(1, 1, 10)  # so short that pruning leaves one configuration
        assert len(timed) == 2 * len(candidates)


@pytest.mark.parametrize(("dim", "item_bytes"), [(128, 2), (256, 2), (128, 4)])
def test_common_dimensions_stay_resident(dim: int, item_bytes: int) -> None:
    assert tile_shape(32, 180, dim, item_bytes, queries=1, exact_fp32=False).block_k >= dim


def test_pruning_always_leaves_a_configuration() -> None:
    for length_bucket in (64, 128, 1024):
        for precision in ("ieee", "tf32"):
            assert plausible(configs(), {"length_bucket": length_bucket}, precision=precision)
