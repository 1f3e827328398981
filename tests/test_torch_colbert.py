from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import numpy as np  # noqa: E402

from serotine.maxsim import reference  # noqa: E402
from serotine.maxsim import torch as maxsim  # noqa: E402


def expected(query: torch.Tensor, document: torch.Tensor, query_mask: torch.Tensor, mask: torch.Tensor) -> float:
    return reference.score(query[query_mask].detach().numpy(), document[mask].detach().numpy())


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    queries_mask, documents_mask = torch.rand(3, 6) < 0.6, torch.rand(3, 2, 9) < 0.6
    queries_mask[1] = False  # a query with every token masked
    documents_mask[2, 1] = False  # a document with every token masked
    queries, documents = torch.randn(3, 6, 16), torch.randn(3, 2, 9, 16) - 1
    # Masked tokens may have any value.
    queries[~queries_mask] = float("nan")
    documents[~documents_mask] = float("inf")
    return {
        "queries_embeddings": queries,
        "documents_embeddings": documents,
        "queries_mask": queries_mask,
        "documents_mask": documents_mask,
    }


def test_colbert_scores_with_holes_in_the_masks(batch: dict[str, torch.Tensor]) -> None:
    queries, documents, query_mask, mask = batch.values()
    scores = maxsim.colbert_scores(**batch)
    assert scores.shape == (3, 6)
    expected_scores = [
        [expected(queries[i], documents[j, n], query_mask[i], mask[j, n]) for j in range(3) for n in range(2)]
        for i in range(3)
    ]
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
    assert scores[1].tolist() == [0.0] * 6
    assert scores[0, 5] == -np.inf
    flat = maxsim.colbert_scores(queries, documents.flatten(0, 1), query_mask.float(), mask.flatten(0, 1).int())
    assert torch.equal(flat, scores)
    mean = maxsim.colbert_scores(**batch, length_normalize=True)
    assert torch.equal(mean, scores / query_mask.sum(1)[:, None].clamp(min=1))


def test_candidates_and_pairs_with_holes_in_the_masks(batch: dict[str, torch.Tensor]) -> None:
    queries, documents, query_mask, mask = batch.values()
    scores = maxsim.colbert_kd_scores(**batch)
    expected_scores = [
        [expected(queries[i], documents[i, n], query_mask[i], mask[i, n]) for n in range(2)] for i in range(3)
    ]
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
    pairwise = maxsim.colbert_scores_pairwise(queries, documents[:, 0], query_mask, mask[:, 0])
    assert torch.equal(pairwise, scores[:, 0])
    mean = maxsim.colbert_kd_scores(**batch, length_normalize=True)
    assert torch.equal(mean, scores / query_mask.sum(1)[:, None].clamp(min=1))


def test_gradients_stop_at_the_masks(batch: dict[str, torch.Tensor]) -> None:
    for function in (maxsim.colbert_scores, maxsim.colbert_kd_scores):
        tensors = {name: tensor.clone() for name, tensor in batch.items()}
        queries = tensors["queries_embeddings"].requires_grad_()
        documents = tensors["documents_embeddings"].requires_grad_()
        scores = function(**tensors)
        torch.where(scores.isinf(), 0.0, scores).square().sum().backward()
        assert queries.grad is not None
        assert documents.grad is not None
        assert queries.grad.isfinite().all()
        assert documents.grad.isfinite().all()
        assert (queries.grad[~batch["queries_mask"]] == 0).all()
        assert (documents.grad[~batch["documents_mask"]] == 0).all()
        assert (documents.grad != 0).any()


def test_lists_and_arrays_are_accepted() -> None:
    torch.manual_seed(0)
    queries, documents = [torch.randn(n, 8) for n in (2, 4)], [torch.randn(n, 8) for n in (3, 1, 5)]
    scores = maxsim.colbert_scores(queries, documents)
    expected_scores = [[reference.score(query, document) for document in documents] for query in queries]
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
    assert torch.equal(maxsim.colbert_scores(queries, [document.numpy() for document in documents]), scores)
    from_arrays = maxsim.colbert_scores(queries[0][None].numpy(), documents[0][None].numpy())
    assert torch.equal(from_arrays, scores[:1, :1])


@pytest.mark.parametrize(
    ("message", "argument"),
    [
        ("queries_mask: must have shape", {"queries_mask": torch.ones(3, 5)}),
        ("documents_mask: must have shape", {"documents_mask": torch.ones(3, 9)}),
        ("queries_embeddings: must have rank 3", {"queries_embeddings": torch.ones(6, 16)}),
        ("documents_embeddings: must have rank", {"documents_embeddings": torch.ones(9, 16)}),
    ],
)
def test_invalid_shapes_raise(batch: dict[str, torch.Tensor], message: str, argument: dict[str, Any]) -> None:
    for function in (maxsim.colbert_scores, maxsim.colbert_kd_scores):
        with pytest.raises(ValueError, match=message):
            function(**(batch | argument))


class TinyEncoder(torch.nn.Module):
    """A linear layer with the output of a sentence-transformers multi-vector model."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 12)

    def forward(self, features: dict[str, torch.Tensor], task: str | None = None) -> dict[str, torch.Tensor]:
        vectors = torch.nn.functional.normalize(self.embedding(features["input_ids"]), dim=-1)
        return {"token_embeddings": vectors, "attention_mask": features["attention_mask"]}


@pytest.mark.parametrize(
    ("loss_name", "scorer", "labels"),
    [
        ("MultiVectorMultipleNegativesRankingLoss", maxsim.colbert_scores, None),
        ("MultiVectorDistillKLDivLoss", maxsim.colbert_kd_scores, torch.tensor([[2.0, 1.0]] * 4)),
        ("MultiVectorMarginMSELoss", maxsim.colbert_scores_pairwise, torch.tensor([0.5] * 4)),
    ],
)
def test_sentence_transformers_losses_have_the_same_gradients(
    loss_name: str, scorer: Any, labels: torch.Tensor | None
) -> None:
    losses = pytest.importorskip(
        "sentence_transformers.multi_vector_encoder.losses", reason="sentence-transformers 6 is not installed"
    )
    torch.manual_seed(0)
    model = TinyEncoder()
    columns = []
    for width in (5, 11, 8):  # query, positive, negative
        mask = torch.rand(4, width) < 0.7
        mask[:, 0] = True
        columns.append({"input_ids": torch.randint(0, 50, (4, width)), "attention_mask": mask.long()})
    outcomes = []
    for options in ({}, {"similarity_fct": scorer}):
        model.zero_grad()
        loss = getattr(losses, loss_name)(model, **options)(columns, labels)
        loss.backward()
        outcomes.append((loss.detach(), model.embedding.weight.grad.clone()))
    (expected_loss, expected_gradient), (loss, gradient) = outcomes
    assert expected_gradient.abs().max() > 1e-3
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-5)
