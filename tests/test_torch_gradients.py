from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from helpers.torch_cases import LAYOUTS, expected_gradients  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from serotine.maxsim import torch as maxsim  # noqa: E402

TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    query_count=st.integers(1, 3),
    document_count=st.integers(1, 4),
    lq=st.integers(0, 5),
    ld=st.integers(0, 9),
    dim=st.integers(1, 20),
)
def test_gradients_match_autograd_in_float64(
    layout: str, dtype: torch.dtype, seed: int, query_count: int, document_count: int, lq: int, ld: int, dim: int
) -> None:
    call = LAYOUTS[layout](seed, query_count, document_count, lq, ld, dim, dtype)
    call.queries.requires_grad_()
    call.documents.requires_grad_()
    scores = call.run("_train")
    grad_scores = torch.randn(scores.shape, generator=torch.Generator().manual_seed(seed))
    expected_queries, expected_documents = expected_gradients(call, grad_scores)
    scores.backward(grad_scores)
    for actual, expected in ((call.queries.grad, expected_queries), (call.documents.grad, expected_documents)):
        assert actual is not None
        assert actual.dtype == dtype
        torch.testing.assert_close(actual.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradcheck(layout: str) -> None:
    # No two dot products of random normal vectors are within a step of gradcheck, so no winner changes.
    shapes = {"padded": (2, 2, 3, 4, 5), "contrastive": (2, 3, 3, 4, 5), "packed": (2, 3, 3, 4, 5)}
    call = LAYOUTS[layout](7, *shapes[layout], torch.float64)
    queries = torch.randn(call.queries.shape, dtype=torch.float64, requires_grad=True)
    documents = torch.randn(call.documents.shape, dtype=torch.float64, requires_grad=True)

    def function(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        replacements = {id(call.queries): queries, id(call.documents): documents}
        arguments = [replacements.get(id(argument), argument) for argument in call.arguments]
        scores = getattr(maxsim, call.function + "_train")(*arguments)
        return torch.where(scores.isinf(), 0.0, scores)

    assert torch.autograd.gradcheck(function, (queries, documents))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", ["queries", "documents"])
def test_only_tensors_that_require_gradients_get_them(layout: str, side: str) -> None:
    call = LAYOUTS[layout](2, 2, 3, 4, 6, 8, torch.float32)
    getattr(call, side).requires_grad_()
    call.run("_train").nan_to_num(neginf=0.0).sum().backward()
    assert (call.queries.grad is not None) == (side == "queries")
    assert (call.documents.grad is not None) == (side == "documents")
    assert call.run().requires_grad is False
    with torch.no_grad():
        assert call.run("_train").requires_grad is False


def test_a_document_without_tokens_gets_and_gives_no_gradient() -> None:
    torch.manual_seed(0)
    queries = torch.randn(2, 3, 8, requires_grad=True)
    documents = torch.randn(5, 8, requires_grad=True)
    scores = maxsim.score_contrastive_train(queries, documents, torch.tensor([0, 2, 2, 5]))
    assert scores[:, 1].tolist() == [float("-inf")] * 2
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 2])).backward()
    assert queries.grad is not None
    assert queries.grad.isfinite().all()
    assert documents.grad is not None
    assert documents.grad.isfinite().all()


def test_an_allowed_nan_document_has_no_gradient() -> None:
    queries = torch.ones(1, 2, 4, requires_grad=True)
    documents = torch.full((2, 4), float("nan"))
    documents[1] = 1.0
    scores = maxsim.score_contrastive_train(queries, documents, torch.tensor([0, 1, 2]), allow_nonfinite=True)
    assert scores.tolist() == [[float("-inf"), 8.0]]
    scores.backward(torch.ones(1, 2))
    assert queries.grad is not None
    assert queries.grad.tolist() == [[[1.0] * 4] * 2]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_backward_is_bitwise_repeatable(layout: str) -> None:
    def gradients() -> tuple[torch.Tensor, ...]:
        call = LAYOUTS[layout](11, 6, 7, 8, 12, 32, torch.float32)
        call.queries.requires_grad_()
        call.documents.requires_grad_()
        scores = call.run("_train")
        scores.nan_to_num(neginf=0.0).square().sum().backward()
        assert call.queries.grad is not None
        assert call.documents.grad is not None
        return call.queries.grad, call.documents.grad

    first, second = gradients(), gradients()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_double_backward_raises() -> None:
    queries = torch.randn(1, 2, 4, requires_grad=True)
    scores = maxsim.score_contrastive_train(queries, torch.randn(3, 4), torch.tensor([0, 3]))
    upstream = torch.ones(1, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(scores, queries, upstream, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
