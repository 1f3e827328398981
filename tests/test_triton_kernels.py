from __future__ import annotations

from typing import Any

import pytest
from helpers.triton_device import DEVICE, ON_GPU, cuda_path

torch = pytest.importorskip("torch", reason="torch is not installed")

import numpy as np  # noqa: E402
from helpers.torch_cases import LAYOUTS, Call, contrastive, expected_gradients, padded, reference_results  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from serotine.maxsim import torch as maxsim  # noqa: E402

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def on_device(call: Call) -> Call:
    def move(value: Any) -> Any:
        return value.to(DEVICE) if isinstance(value, torch.Tensor) else value

    moved = {id(argument): move(argument) for argument in call.arguments}
    return call._replace(
        arguments=tuple(moved[id(argument)] for argument in call.arguments),
        queries=moved[id(call.queries)],
        documents=moved[id(call.documents)],
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    query_count=st.integers(1, 5),
    document_count=st.integers(1, 3),
    lq=st.integers(0, 20),
    ld=st.sampled_from([0, 1, 5, 63, 64, 65, 140]),
    dim=st.sampled_from([1, 7, 16, 40, 64]),
)
def test_scores_and_argmax_match_the_float64_reference(
    layout: str, dtype: torch.dtype, seed: int, query_count: int, document_count: int, lq: int, ld: int, dim: int
) -> None:
    call = LAYOUTS[layout](seed, query_count, document_count, lq, ld, dim, dtype)
    expected_scores, expected_winners = reference_results(call)
    with cuda_path():
        scores, winners = on_device(call).run("_with_argmax")
        scores_only = on_device(call).run()
    assert scores.dtype == torch.float32
    assert winners.dtype == torch.int32
    np.testing.assert_allclose(scores.cpu().numpy(), expected_scores, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(winners.cpu().numpy(), expected_winners)
    assert torch.equal(scores_only, scores)


@pytest.mark.parametrize(
    ("lq", "dim", "dtype"),
    [(70, 16, torch.float16), (130, 20, torch.float32), (3, 300, torch.float16), (3, 200, torch.float32)],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_queries_longer_and_vectors_wider_than_a_tile(layout: str, lq: int, dim: int, dtype: torch.dtype) -> None:
    call = LAYOUTS[layout](4, 2, 2, lq, 70, dim, dtype)
    expected_scores, expected_winners = reference_results(call)
    with cuda_path():
        scores, winners = on_device(call).run("_with_argmax")
    np.testing.assert_allclose(scores.cpu().numpy(), expected_scores, rtol=1e-5, atol=1e-3)
    if layout == "padded":  # sums of its values are exact, so ties have the same winner
        np.testing.assert_array_equal(winners.cpu().numpy(), expected_winners)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), lq=st.integers(0, 5), ld=st.integers(0, 9), dim=st.integers(1, 20))
def test_gradients_match_autograd_in_float64(
    layout: str, dtype: torch.dtype, seed: int, lq: int, ld: int, dim: int
) -> None:
    call = LAYOUTS[layout](seed, 2, 2, lq, ld, dim, dtype)
    moved = on_device(call)
    moved.queries.requires_grad_()
    moved.documents.requires_grad_()
    grad_scores = torch.randn(reference_results(call)[0].shape, generator=torch.Generator().manual_seed(seed))
    gradients = expected_gradients(call, grad_scores)
    with cuda_path():
        moved.run("_train").backward(grad_scores.to(DEVICE))
    for gradient, expected in zip((moved.queries.grad, moved.documents.grad), gradients, strict=True):
        assert gradient is not None
        assert gradient.dtype == dtype
        torch.testing.assert_close(gradient.cpu().double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_backward_is_bitwise_repeatable() -> None:
    def gradients() -> tuple[torch.Tensor, torch.Tensor]:
        call = on_device(contrastive(5, 4, 3, 6, 9, 16, torch.float32))
        call.queries.requires_grad_()
        call.documents.requires_grad_()
        with cuda_path():
            call.run("_train").nan_to_num(neginf=0.0).square().sum().backward()
        assert call.queries.grad is not None
        assert call.documents.grad is not None
        return call.queries.grad, call.documents.grad

    for first, second in zip(gradients(), gradients(), strict=True):
        assert torch.equal(first, second)


def test_a_pair_scores_the_same_in_every_layout_and_batch() -> None:
    torch.manual_seed(0)
    queries, documents = torch.randn(5, 9, 40, device=DEVICE), torch.randn(4, 70, 40, device=DEVICE)
    if not ON_GPU:
        # The interpreter multiplies with NumPy, whose rounding depends on the tile's width; that of tensor cores
        # does not. On a coarse grid every sum is exact, and the rest of the kernel is still compared.
        queries, documents = (queries * 8).round() / 8, (documents * 8).round() / 8
    lengths = torch.tensor([70, 0, 1, 65], device=DEVICE)
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    packed = documents[torch.arange(70, device=DEVICE) < lengths[:, None]]
    full = torch.full((5,), 9, device=DEVICE)
    with cuda_path():
        grid = maxsim.score_contrastive(queries, packed, offsets)
        separate = torch.cat([maxsim.score_contrastive(query[None], packed, offsets) for query in queries])
        backwards = maxsim.score_contrastive(queries.flip(0), packed, offsets).flip(0)
        candidates = maxsim.score_candidates_padded(
            queries, documents.expand(5, -1, -1, -1), full, lengths.expand(5, -1)
        )
        pairs = maxsim.score_pairs_packed(
            queries.flatten(0, 1),
            torch.arange(6, device=DEVICE) * 9,
            packed,
            offsets,
            torch.arange(5, device=DEVICE).repeat_interleave(4),
            torch.arange(4, device=DEVICE).repeat(5),
        ).reshape(5, 4)
    for other in (separate, backwards, candidates, pairs):
        assert torch.equal(grid, other)


def test_a_score_does_not_depend_on_the_other_documents() -> None:
    torch.manual_seed(0)
    queries, documents = torch.randn(2, 9, 40, device=DEVICE), torch.randn(135, 40, device=DEVICE)
    with cuda_path():
        together = maxsim.score_contrastive(queries, documents, torch.tensor([0, 70, 70, 135], device=DEVICE))
        separate = maxsim.score_contrastive(queries, documents, torch.tensor([70, 135], device=DEVICE))
    assert torch.equal(together[:, 2:], separate)


def test_the_kernel_reports_values_that_it_clamps() -> None:
    queries, documents = torch.ones(2, 3, 8, device=DEVICE), torch.ones(2, 2, 5, 8, device=DEVICE)
    lengths = torch.full((2,), 3, device=DEVICE), torch.full((2, 2), 5, device=DEVICE)
    rows, offsets = torch.ones(6, 8, device=DEVICE), torch.tensor([0, 2, 6], device=DEVICE)
    ids = torch.tensor([0, 1], device=DEVICE)
    with cuda_path():
        for function, message, arguments in (
            ("score_candidates_padded", "query_lengths", (queries, documents, lengths[0] + 9, lengths[1])),
            ("score_candidates_padded", "doc_lengths", (queries, documents, lengths[0], lengths[1] - 6)),
            ("score_contrastive", "document_offsets", (queries, rows, offsets + 1)),
            ("score_contrastive", "document_offsets: offsets must not decrease", (queries, rows, offsets.flip(0))),
            ("score_pairs_packed", "pair_query_ids", (rows, offsets, rows, offsets, ids + 1, ids)),
            ("score_pairs_packed", "pair_document_ids", (rows, offsets, rows, offsets, ids, ids - 1)),
        ):
            with pytest.raises(ValueError, match=message):
                getattr(maxsim, function)(*arguments)
        with pytest.raises(ValueError, match="max_q_len: must be at least 4"):
            maxsim.score_pairs_packed(rows, offsets, rows, offsets, ids, ids, max_q_len=3)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_nonfinite_input_raises_unless_allowed(side: int, poison: float) -> None:
    call = on_device(padded(5, 2, 3, 4, 8, 16, torch.float32))
    token_masks = [
        torch.arange(4, device=DEVICE) < call.arguments[2][:, None],
        torch.arange(8, device=DEVICE) < call.arguments[3][..., None],
    ]
    with cuda_path():
        expected = call.run()
        # Padding is not read.
        call.arguments[side][~token_masks[side]] = poison
        assert torch.equal(call.run(), expected)
        position = token_masks[side].nonzero()[-1]
        call.arguments[side][tuple(position)][3] = poison
        with pytest.raises(ValueError, match="allow_nonfinite=True"):
            call.run()
        scores, winners = call.run("_with_argmax", allow_nonfinite=True)
    cpu = call._replace(arguments=tuple(argument.cpu() for argument in call.arguments))
    expected_scores, expected_winners = cpu.run("_with_argmax", allow_nonfinite=True)
    np.testing.assert_allclose(scores.cpu(), expected_scores, rtol=1e-5)
    assert torch.equal(winners.cpu(), expected_winners)


@pytest.mark.parametrize("slice_size", [1, 7, 1 << 20])
def test_top_k_in_slices_agrees_with_a_stable_sort(slice_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serotine.maxsim.torch.selection._SCORES_AT_ONCE", slice_size)
    call = on_device(contrastive(3, 2, 9, 3, 2, 4, torch.float32))
    call.arguments[0].round_()
    call.arguments[1].round_()
    keep = torch.arange(9, device=DEVICE) % 4 != 1
    with cuda_path():
        scores = call.run()
        for candidates, mask in ((torch.arange(9, device=DEVICE), None), (keep.nonzero()[:, 0], keep)):
            order = torch.sort(scores[:, candidates] + 0.0, dim=1, descending=True, stable=True).indices
            for k in (1, 4, 20):
                top_scores, numbers = maxsim.top_k(*call.arguments, k, keep=mask)
                assert torch.equal(numbers, candidates[order][:, :k])
                assert torch.equal(top_scores, scores.gather(1, numbers))
