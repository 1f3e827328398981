"""Chosen pairs of variable-length queries and documents, without padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from serotine.maxsim.torch.autograd import maxsim_train
from serotine.maxsim.torch.checks import (
    check_between,
    check_index,
    check_offsets,
    check_offsets_shape,
    check_vectors,
)
from serotine.maxsim.torch.forward import maxsim_scores, maxsim_scores_and_argmax
from serotine.maxsim.torch.layout import Layout, Pairs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Packed(Layout):
    """Layout whose pair p is query ``pair_query_ids[p]`` with document ``pair_document_ids[p]``."""

    function: ClassVar[str] = "score_pairs_packed"
    query_offsets: Tensor
    document_offsets: Tensor
    pair_query_ids: Tensor
    pair_document_ids: Tensor
    max_q_len: int

    def arguments(self, queries: Tensor, documents: Tensor) -> tuple[Any, ...]:
        """Return the arguments of the scoring function, in its order."""
        return (
            queries,
            self.query_offsets,
            documents,
            self.document_offsets,
            self.pair_query_ids,
            self.pair_document_ids,
        )

    def options(self) -> dict[str, int]:
        """Return the width of the winners."""
        return {"max_q_len": self.max_q_len}

    def check_shapes(self, queries: Tensor, documents: Tensor) -> None:
        """Raise for wrong types, ranks, shapes, dtypes and devices."""
        check_vectors(queries, documents, "(Tq, D)", "(Td, D)")
        check_offsets_shape("query_offsets", self.query_offsets, queries.device)
        check_offsets_shape("document_offsets", self.document_offsets, queries.device)
        check_index("pair_query_ids", self.pair_query_ids, ("P",), queries.device)
        check_index("pair_document_ids", self.pair_document_ids, (len(self.pair_query_ids),), queries.device)
        for name, ids, offsets in (
            ("pair_query_ids", self.pair_query_ids, self.query_offsets),
            ("pair_document_ids", self.pair_document_ids, self.document_offsets),
        ):
            if len(ids) and len(offsets) == 1:
                raise ValueError(f"{name}: must be empty without items, got shape {tuple(ids.shape)}")

    def check_values(self, queries: Tensor, documents: Tensor) -> None:
        """Raise ValueError for lengths, offsets and ids out of bounds."""
        check_offsets("query_offsets", self.query_offsets, queries.shape[0])
        check_offsets("document_offsets", self.document_offsets, documents.shape[0])
        check_between("pair_query_ids", self.pair_query_ids, 0, len(self.query_offsets) - 2, "query numbers")
        check_between(
            "pair_document_ids", self.pair_document_ids, 0, len(self.document_offsets) - 2, "document numbers"
        )
        max_query_tokens = max([*self.query_offsets.diff().tolist(), 0])
        if self.max_q_len < max_query_tokens:
            raise ValueError(
                f"max_q_len: must be at least {max_query_tokens}, the tokens of the longest query, got {self.max_q_len}"
            )

    def pairs(self, queries: Tensor, documents: Tensor) -> Pairs:
        """Return the pairs."""
        query_offsets = self.query_offsets.to(torch.int64)
        document_offsets = self.document_offsets.to(torch.int64)
        return Pairs(
            query_begin=query_offsets[:-1],
            query_end=query_offsets[1:],
            document_begin=document_offsets[:-1],
            document_end=document_offsets[1:],
            queries=self.pair_query_ids.to(torch.int64),
            documents=self.pair_document_ids.to(torch.int64),
            shape=(self.pair_query_ids.shape[0],),
            width=self.max_q_len,
        )


def _layout(
    query_offsets: Tensor,
    document_offsets: Tensor,
    pair_query_ids: Tensor,
    pair_document_ids: Tensor,
    max_q_len: int | None,
) -> Packed:
    if max_q_len is None:
        # check_shapes raises for wrong types and shapes.
        is_vector = isinstance(query_offsets, torch.Tensor) and query_offsets.dim() == 1
        lengths = query_offsets.diff() if is_vector else torch.empty(0)
        max_q_len = max(int(lengths.max()), 0) if lengths.numel() else 0
    elif max_q_len < 0:
        raise ValueError(f"max_q_len: must be at least 0, got {max_q_len}")
    return Packed(query_offsets, document_offsets, pair_query_ids, pair_document_ids, max_q_len)


def score_pairs_packed(
    queries: Tensor,
    query_offsets: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    pair_query_ids: Tensor,
    pair_document_ids: Tensor,
    *,
    max_q_len: int | None = None,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> Tensor:
    """Return MaxSim of chosen (query, document) pairs, packed without padding.

    Args:
        queries: [Tq, D] float32, float16 or bfloat16, the queries' tokens one after another.
        query_offsets: [Nq + 1] int32 or int64 within [0, Tq], never decreasing.
        documents: [Td, D], same dtype and device.
        document_offsets: [Nb + 1] int32 or int64 within [0, Td], never decreasing.
        pair_query_ids: [P] int32 or int64, the query of each pair.
        pair_document_ids: [P] int32 or int64, the document of each pair.
        max_q_len: at least the longest query; by default computed from the offsets, which on CUDA waits for the
            device.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.
        allow_tf32: on CUDA, round float32 input to tf32 for the tensor cores.

    Returns:
        [P] float32; -inf for a document with no tokens, 0 for a query with none.

    Raises:
        ValueError: wrong rank or shape, wrong offsets, an id or `max_q_len` out of bounds, non-finite input.
        TypeError: dtypes that differ, are not floating, or indices that are not integers.
        RuntimeError: tensors on different devices, or a device without a backend.
    """
    layout = _layout(query_offsets, document_offsets, pair_query_ids, pair_document_ids, max_q_len)
    return maxsim_scores(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)


def score_pairs_packed_with_argmax(
    queries: Tensor,
    query_offsets: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    pair_query_ids: Tensor,
    pair_document_ids: Tensor,
    *,
    max_q_len: int | None = None,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the scores of `score_pairs_packed`, and the winning document token of every query token.

    Returns:
        Scores [P] float32 and winners [P, max_q_len] int32, counted from the document's first token: the
        lowest on a tie, -1 beyond the query's length and where no document token can win.
    """
    layout = _layout(query_offsets, document_offsets, pair_query_ids, pair_document_ids, max_q_len)
    return maxsim_scores_and_argmax(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)


def score_pairs_packed_train(
    queries: Tensor,
    query_offsets: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    pair_query_ids: Tensor,
    pair_document_ids: Tensor,
    *,
    max_q_len: int | None = None,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> Tensor:
    """Return the scores of `score_pairs_packed`, with gradients to queries and documents.

    The gradient follows the winning tokens, is accumulated in float32 in a fixed order (two runs give the
    same bits) and comes back in the input dtype. Queries and documents in no pair receive zero.

    >>> import torch
    >>> queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> documents = torch.tensor([[0.5, 0.25], [1.0, 0.0], [0.0, 0.5]])
    >>> offsets = torch.tensor([0, 2]), torch.tensor([0, 1, 3])
    >>> pairs = torch.tensor([0]), torch.tensor([1])
    >>> score_pairs_packed_train(queries, offsets[0], documents, offsets[1], *pairs).sum().backward()
    >>> queries.grad.tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    layout = _layout(query_offsets, document_offsets, pair_query_ids, pair_document_ids, max_q_len)
    return maxsim_train(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)
