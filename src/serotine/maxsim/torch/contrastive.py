"""In-batch training and small corpora: every query with every packed document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from serotine.maxsim.torch.autograd import maxsim_train
from serotine.maxsim.torch.checks import check_offsets, check_offsets_shape, check_vectors
from serotine.maxsim.torch.forward import maxsim_scores, maxsim_scores_and_argmax
from serotine.maxsim.torch.layout import Layout, Pairs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Contrastive(Layout):
    """Layout that scores every query with document n, rows ``document_offsets[n]`` to ``document_offsets[n + 1]``."""

    function: ClassVar[str] = "score_contrastive"
    document_offsets: Tensor

    def arguments(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, ...]:
        """Return the arguments of the scoring function, in its order."""
        return queries, documents, self.document_offsets

    def check_shapes(self, queries: Tensor, documents: Tensor) -> None:
        """Raise for wrong types, ranks, shapes, dtypes and devices."""
        check_vectors(queries, documents, "(Nq, Lq, D)", "(T, D)")
        check_offsets_shape("document_offsets", self.document_offsets, queries.device)

    def check_values(self, queries: Tensor, documents: Tensor) -> None:
        """Raise ValueError for lengths, offsets and ids out of bounds."""
        check_offsets("document_offsets", self.document_offsets, documents.shape[0])

    def pairs(self, queries: Tensor, documents: Tensor) -> Pairs:
        """Return the pairs."""
        query_count, width, _ = queries.shape
        document_count = self.document_offsets.shape[0] - 1
        offsets = self.document_offsets.to(torch.int64)
        query_numbers = torch.arange(query_count, device=queries.device)
        return Pairs(
            query_begin=query_numbers * width,
            query_end=(query_numbers + 1) * width,
            document_begin=offsets[:-1],
            document_end=offsets[1:],
            queries=query_numbers.repeat_interleave(document_count),
            documents=torch.arange(document_count, device=queries.device).repeat(query_count),
            shape=(query_count, document_count),
            width=width,
            complete=True,
        )


def score_contrastive(
    queries: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> Tensor:
    """Return MaxSim of every query with every document, as with in-batch negatives.

    Args:
        queries: [Nq, Lq, D] float32, float16 or bfloat16, every token real.
        documents: [T, D], same dtype and device, the documents' tokens one after another.
        document_offsets: [Nb + 1] int32 or int64 within [0, T], never decreasing.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.
        allow_tf32: on CUDA, round float32 input to tf32 for the tensor cores.

    Returns:
        [Nq, Nb] float32; -inf for a document with no tokens, 0 for queries with none.

    Raises:
        ValueError: wrong rank or shape, wrong offsets, non-finite input.
        TypeError: dtypes that differ, are not floating, or offsets that are not integers.
        RuntimeError: tensors on different devices, or a device without a backend.
    """
    layout = Contrastive(document_offsets)
    return maxsim_scores(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)


def score_contrastive_with_argmax(
    queries: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the scores of `score_contrastive`, and the winning document token of every query token.

    Returns:
        Scores [Nq, Nb] float32 and winners [Nq, Nb, Lq] int32, counted from the document's first token: the
        lowest on a tie, -1 where no document token can win.
    """
    layout = Contrastive(document_offsets)
    return maxsim_scores_and_argmax(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)


def score_contrastive_train(
    queries: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> Tensor:
    """Return the scores of `score_contrastive`, with gradients to queries and documents.

    The gradient follows the winning tokens, is accumulated in float32 in a fixed order (two runs give the
    same bits) and comes back in the input dtype. Documents with no tokens receive none.

    >>> import torch
    >>> queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], requires_grad=True)
    >>> documents = torch.tensor([[0.5, 0.25], [1.0, 0.0], [0.0, 0.5]])
    >>> score_contrastive_train(queries, documents, torch.tensor([0, 1, 3])).sum().backward()
    >>> queries.grad.tolist()
    [[[1.5, 0.25], [0.5, 0.75]]]
    """
    layout = Contrastive(document_offsets)
    return maxsim_train(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)
