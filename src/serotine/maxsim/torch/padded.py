"""Reranking: every query with its own padded candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from serotine.maxsim.torch.autograd import maxsim_train
from serotine.maxsim.torch.checks import check_between, check_index, check_vectors
from serotine.maxsim.torch.forward import maxsim_scores, maxsim_scores_and_argmax
from serotine.maxsim.torch.layout import Layout, Pairs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Padded(Layout):
    """Layout that scores query b with its C candidates; lengths count the real tokens of each."""

    function: ClassVar[str] = "score_candidates_padded"
    query_lengths: Tensor
    doc_lengths: Tensor

    def arguments(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, ...]:
        """Return the arguments of the scoring function, in its order."""
        return queries, documents, self.query_lengths, self.doc_lengths

    def check_shapes(self, queries: Tensor, documents: Tensor) -> None:
        """Raise for wrong types, ranks, shapes, dtypes and devices."""
        check_vectors(queries, documents, "(B, Lq, D)", "(B, C, Ld, D)")
        if queries.shape[0] != documents.shape[0]:
            raise ValueError(
                f"documents: must have shape ({queries.shape[0]}, C, Ld, D), candidates for every query, "
                f"got {tuple(documents.shape)}"
            )
        check_index("query_lengths", self.query_lengths, (queries.shape[0],), queries.device)
        check_index("doc_lengths", self.doc_lengths, tuple(documents.shape[:2]), queries.device)

    def check_values(self, queries: Tensor, documents: Tensor) -> None:
        """Raise ValueError for lengths, offsets and ids out of bounds."""
        check_between("query_lengths", self.query_lengths, 0, queries.shape[1], "lengths")
        check_between("doc_lengths", self.doc_lengths, 0, documents.shape[2], "lengths")

    def pairs(self, queries: Tensor, documents: Tensor) -> Pairs:
        """Return the pairs."""
        batch, candidates, document_width, _ = documents.shape
        width = queries.shape[1]
        query_numbers = torch.arange(batch, device=queries.device)
        document_numbers = torch.arange(batch * candidates, device=queries.device)
        return Pairs(
            query_begin=query_numbers * width,
            query_end=query_numbers * width + self.query_lengths,
            document_begin=document_numbers * document_width,
            document_end=document_numbers * document_width + self.doc_lengths.flatten(),
            queries=query_numbers.repeat_interleave(candidates),
            documents=document_numbers,
            shape=(batch, candidates),
            width=width,
        )


def score_candidates_padded(
    queries: Tensor,
    documents: Tensor,
    query_lengths: Tensor,
    doc_lengths: Tensor,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> Tensor:
    """Return MaxSim of every query with each of its candidates, as in reranking.

    Args:
        queries: [B, Lq, D] float32, float16 or bfloat16.
        documents: [B, C, Ld, D], same dtype and device.
        query_lengths: [B] int32 or int64, the number of real tokens of each query.
        doc_lengths: [B, C] int32 or int64, the number of real tokens of each candidate.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.
        allow_tf32: on CUDA, round float32 input to tf32 for the tensor cores.

    Returns:
        [B, C] float32: the sum over real query tokens of the best dot product with a real document token;
        -inf for a document with no tokens, 0 for a query with none. float64 input, accepted on the CPU
        for checking gradients, gives float64.

    Raises:
        ValueError: wrong rank or shape, a length out of bounds, non-finite input.
        TypeError: dtypes that differ, are not floating, or indices that are not integers.
        RuntimeError: tensors on different devices, or a device without a backend.
    """
    layout = Padded(query_lengths, doc_lengths)
    return maxsim_scores(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)


def score_candidates_padded_with_argmax(
    queries: Tensor,
    documents: Tensor,
    query_lengths: Tensor,
    doc_lengths: Tensor,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the scores of `score_candidates_padded`, and the winning document token of every query token.

    Returns:
        Scores [B, C] float32 and winners [B, C, Lq] int32: the lowest token on a tie, -1 for a padding token
        and where no document token can win.
    """
    layout = Padded(query_lengths, doc_lengths)
    return maxsim_scores_and_argmax(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)


def score_candidates_padded_train(
    queries: Tensor,
    documents: Tensor,
    query_lengths: Tensor,
    doc_lengths: Tensor,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> Tensor:
    """Return the scores of `score_candidates_padded`, with gradients to queries and documents.

    The gradient follows the winning tokens, is accumulated in float32 in a fixed order (two runs give the
    same bits) and comes back in the input dtype. Padding and documents with no tokens receive zero.

    >>> import torch
    >>> queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], requires_grad=True)
    >>> documents = torch.tensor([[[[0.5, 0.25], [9.0, 9.0]], [[1.0, 0.0], [0.0, 0.5]]]])
    >>> lengths = torch.tensor([2]), torch.tensor([[1, 2]])
    >>> score_candidates_padded_train(queries, documents, *lengths).sum().backward()
    >>> queries.grad.tolist()
    [[[1.5, 0.25], [0.5, 0.75]]]
    """
    layout = Padded(query_lengths, doc_lengths)
    return maxsim_train(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)
