"""Apple MPS: the kernels of the late-interaction-kernels package, under the contract of `serotine.maxsim`.

Metal has no Triton, and that package (Apache-2.0) has fused Metal kernels with a backward. Its `maxsim_mps`
takes padded tensors with masks: packed documents are padded here, and the one case where it differs from the
contract, a document with no tokens, is corrected afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.torch.checks import raise_nonfinite

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Layout


def forward_mps(layout: Layout, queries: Tensor, documents: Tensor, *, allow_nonfinite: bool) -> Tensor:
    """Score with late-interaction-kernels; gradients flow through that package's backward.

    Args:
        layout: a layout whose shapes have been checked.
        queries: query tokens.
        documents: document tokens.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        Scores float32, in the shape of the layout.

    Raises:
        RuntimeError: late-interaction-kernels is not installed.
        ValueError: lengths, offsets or ids out of bounds, or non-finite input.
    """
    try:
        from late_interaction_kernels.mps import maxsim_mps
    except ImportError as error:
        raise RuntimeError(
            "MPS tensors need late-interaction-kernels; run: pip install late-interaction-kernels, "
            "or move the tensors to the CPU"
        ) from error
    layout.check_values(queries, documents)
    pairs = layout.pairs(queries, documents)
    padded_queries, query_mask = _padded(queries, pairs.query_begin, pairs.query_end)
    padded_documents, document_mask = _padded(documents, pairs.document_begin, pairs.document_end)
    if not allow_nonfinite and not bool(padded_queries.isfinite().all() & padded_documents.isfinite().all()):
        raise_nonfinite()
    if not pairs.complete:
        padded_queries, query_mask = padded_queries[pairs.queries], query_mask[pairs.queries]
        padded_documents = padded_documents[pairs.documents][:, None]
        document_mask = document_mask[pairs.documents][:, None]
    if 0 in padded_queries.shape or 0 in padded_documents.shape:
        # There are no tokens, but the result must stay in the graph of both inputs.
        zero = padded_queries.flatten()[:0].sum() + padded_documents.flatten()[:0].sum()
        scores = torch.zeros(pairs.shape, device=queries.device) + zero
    else:
        scores = maxsim_mps(
            padded_queries, padded_documents, q_mask=query_mask, d_mask=document_mask, normalize=False
        ).reshape(pairs.shape)
    is_empty_document = (pairs.document_begin == pairs.document_end)[pairs.documents]
    has_query_tokens = (pairs.query_begin != pairs.query_end)[pairs.queries]
    return scores.masked_fill((is_empty_document & has_query_tokens).reshape(pairs.shape), -torch.inf)


def _padded(vectors: Tensor, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Return ranges of rows as [items, max length, D], padded with zeros, and the mask of the real tokens."""
    rows = vectors.reshape(-1, vectors.shape[-1])
    max_length = int((end - begin).max()) if begin.numel() else 0
    positions = begin[:, None] + torch.arange(max_length, device=vectors.device)
    mask = positions < end[:, None]
    gathered = rows[torch.where(mask, positions, 0)] if rows.shape[0] else rows.new_zeros(*mask.shape, rows.shape[1])
    return gathered.masked_fill(~mask[..., None], 0.0), mask
