"""XTR's scores: against the reference, their gradients, and sentence-transformers' function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from serotine.maxsim import colbert_scores, reference, xtr_scores  # noqa: E402

SHAPES = {
    "seed": st.integers(0, 2**31),
    "counts": st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    "tokens": st.tuples(st.integers(0, 5), st.integers(0, 7)),
    "k_token": st.integers(1, 50),
    "impute": st.booleans(),
}


def batch(
    seed: int, counts: tuple[int, int, int], tokens: tuple[int, int], dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Return queries, groups of documents and masks with holes; small integers: exact sums, many ties."""
    generator = torch.Generator().manual_seed(seed)
    queries, groups, documents = counts
    shapes = {"queries": (queries, tokens[0]), "documents": (groups, documents, tokens[1])}
    arguments = {}
    for name, shape in shapes.items():
        mask = torch.rand(shape, generator=generator) < 0.7
        vectors = torch.randint(-2, 3, (*shape, 4), generator=generator).to(dtype)
        # Masked tokens may have any value.
        vectors[~mask] = float("nan")
        arguments |= {f"{name}_embeddings": vectors, f"{name}_mask": mask}
    return arguments


def expected_scores(arguments: dict[str, Any], k_token: int, *, impute: bool) -> np.ndarray:
    queries, query_mask, documents, mask = (value.numpy() for value in arguments.values())
    flat = [
        rows[real]
        for group, reals in zip(documents, mask, strict=True)
        for rows, real in zip(group, reals, strict=True)
    ]
    return np.stack(
        [
            reference.xtr(rows[real], flat, k_token, impute=impute)
            for rows, real in zip(queries, query_mask, strict=True)
        ]
    )


@settings(max_examples=150, deadline=None)
@given(**SHAPES)
def test_scores_equal_the_reference(
    seed: int, counts: tuple[int, int, int], tokens: tuple[int, int], k_token: int, impute: bool
) -> None:
    arguments = batch(seed, counts, tokens)
    scores = xtr_scores(**arguments, k_token=k_token, impute=impute)
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores, expected_scores(arguments, k_token, impute=impute), rtol=1e-6, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(**SHAPES)
def test_gradcheck(
    seed: int, counts: tuple[int, int, int], tokens: tuple[int, int], k_token: int, impute: bool
) -> None:
    arguments = batch(seed, counts, tokens, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    # No two dot products of random normal vectors are within a step of gradcheck, so no winner changes.
    leaves = [
        torch.randn(arguments[name].shape, dtype=torch.float64, generator=generator, requires_grad=True)
        for name in ("queries_embeddings", "documents_embeddings")
    ]

    def function(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        masks = arguments["queries_mask"], arguments["documents_mask"]
        scores = xtr_scores(queries, documents, *masks, k_token=k_token, impute=impute)
        return torch.where(scores.isinf(), 0.0, scores)

    assert torch.autograd.gradcheck(function, leaves)


def test_gradients_reach_the_retrieved_tokens_only() -> None:
    queries = torch.tensor([[[1.0, 0.0]]], requires_grad=True)
    documents = torch.tensor([[[3.0, 1.0], [3.0, 0.0]], [[2.0, 1.0], [1.0, 0.0]]], requires_grad=True)
    xtr_scores(queries, documents, k_token=2).sum().backward()
    assert documents.grad is not None
    # Both tokens of the first document are retrieved; they tie, and the lower wins.
    assert documents.grad.tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 0]]]
    documents.grad = None
    xtr_scores(queries, documents, k_token=2, impute=True)[0, 1].backward()
    # The missing similarity is that of the last retrieved token.
    assert documents.grad.tolist() == [[[0, 0], [1, 0]], [[0, 0], [0, 0]]]


@settings(max_examples=30, deadline=None)
@given(seed=SHAPES["seed"], counts=SHAPES["counts"], tokens=SHAPES["tokens"])
def test_retrieving_every_token_is_the_mean_maxsim(
    seed: int, counts: tuple[int, int, int], tokens: tuple[int, int]
) -> None:
    arguments = batch(seed, counts, tokens)
    exact = colbert_scores(**arguments, length_normalize=True)
    for impute in (False, True):
        torch.testing.assert_close(xtr_scores(**arguments, k_token=10**6, impute=impute), exact)


def test_scores_and_gradients_equal_those_of_sentence_transformers() -> None:
    scoring = pytest.importorskip("sentence_transformers.multi_vector_encoder.scoring")
    torch.manual_seed(0)
    queries, documents = torch.randn(3, 5, 8), torch.randn(3, 2, 9, 8)
    masks = {"queries_mask": torch.rand(3, 5) < 0.8, "documents_mask": torch.rand(3, 2, 9) < 0.8}
    outcomes = []
    for function, option in ((scoring.xtr_scores, "top_k"), (xtr_scores, "k_token")):
        leaves = queries.clone().requires_grad_(), documents.clone().requires_grad_()
        scores = function(*leaves, **masks, **{option: 7})
        scores.square().sum().backward()
        outcomes.append((scores.detach(), *(leaf.grad for leaf in leaves)))
    for expected, computed in zip(*outcomes, strict=True):
        torch.testing.assert_close(computed, expected)


def test_lists_arrays_and_half_precision_are_accepted() -> None:
    torch.manual_seed(0)
    queries, documents = [torch.randn(n, 8) for n in (2, 4)], [torch.randn(n, 8) for n in (3, 1, 5)]
    scores = xtr_scores(queries, documents, k_token=3)
    expected = [reference.xtr(query, documents, 3) for query in queries]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert torch.equal(xtr_scores(queries, [document.numpy() for document in documents], k_token=3), scores)
    half = xtr_scores([query.half() for query in queries], [document.half() for document in documents], k_token=3)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, scores, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("error", "message", "argument"),
    [
        (ValueError, "k_token: must be an int, at least 1, got 0", {"k_token": 0}),
        (ValueError, "k_token: must be an int, at least 1, got True", {"k_token": True}),
        (ValueError, "k_token: must be an int, at least 1, got 2.0", {"k_token": 2.0}),
        (TypeError, "impute: must be True or False", {"impute": "no"}),
        (ValueError, "queries_mask: must have shape", {"queries_mask": torch.ones(2, 9)}),
        (ValueError, "queries_embeddings: must have rank 3", {"queries_embeddings": torch.ones(3, 4)}),
        (ValueError, "documents_embeddings: must have rank 3 or 4", {"documents_embeddings": torch.ones(3, 4)}),
        (ValueError, "with D = 4 as in queries", {"documents_embeddings": torch.ones(2, 1, 5, 8)}),
        (TypeError, "documents: must have the dtype", {"documents_embeddings": torch.ones(2, 1, 5, 4).double()}),
        (ValueError, "NaN", {"documents_embeddings": torch.full((2, 1, 5, 4), torch.nan)}),
    ],
)
def test_bad_input_is_one_line(error: type[Exception], message: str, argument: dict[str, Any]) -> None:
    arguments = {
        "queries_embeddings": torch.ones(2, 3, 4),
        "documents_embeddings": torch.ones(2, 1, 5, 4),
        **argument,
    }
    with pytest.raises(error, match=message) as caught:
        xtr_scores(**arguments)
    assert "\n" not in str(caught.value)
