"""The forward in its three layouts: allocate, choose a tile, launch `score_tiles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.triton.tile import CONTRASTIVE, PACKED, PADDED, score_tiles
from serotine.maxsim.triton.tuning import tile_shape

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor


def score_candidates_padded(
    queries: Tensor,
    documents: Tensor,
    query_lengths: Tensor,
    doc_lengths: Tensor,
    *,
    with_argmax: bool,
    check_finite: bool,
    allow_tf32: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Score every query against its own candidates.

    Args:
        queries: [B, Lq, D] fp32, fp16 or bf16.
        documents: [B, C, Ld, D], same dtype.
        query_lengths: [B] integers, clamped to [0, Lq].
        doc_lengths: [B, C] integers, clamped to [0, Ld].
        with_argmax: also return the winning document token of every query token.
        check_finite: raise a flag on non-finite dot products.
        allow_tf32: round fp32 input to tf32 for the tensor cores.

    Returns:
        Scores [B, C] fp32; winners [B, C, Lq] int32 (-1 where no token won) or None; flags [4] int32, see
        `serotine.maxsim.triton.tile`.
    """
    batch, query_width, _ = queries.shape
    candidates, document_width = documents.shape[1:3]
    return _launch(
        PADDED,
        queries,
        documents,
        (query_lengths, doc_lengths, None, None),
        pairs=(batch, candidates),
        counts=(batch, candidates),
        widths=(query_width, document_width),
        document_tokens=document_width,
        with_argmax=with_argmax,
        check_finite=check_finite,
        allow_tf32=allow_tf32,
    )


def score_contrastive(
    queries: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    *,
    with_argmax: bool,
    check_finite: bool,
    allow_tf32: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Score every query against every document.

    Args:
        queries: [Nq, Lq, D] fp32, fp16 or bf16, without padding.
        documents: [T, D], same dtype, the documents' tokens one after another.
        document_offsets: [Nb + 1] integers; document n owns the rows from its offset to the next.
        with_argmax: also return the winning document token of every query token.
        check_finite: raise a flag on non-finite dot products.
        allow_tf32: round fp32 input to tf32 for the tensor cores.

    Returns:
        Scores [Nq, Nb] fp32; winners [Nq, Nb, Lq] int32, counted from the document's first token, or None;
        flags [4] int32.
    """
    query_count, query_width, _ = queries.shape
    document_count = document_offsets.shape[0] - 1
    return _launch(
        CONTRASTIVE,
        queries,
        documents,
        (None, document_offsets, None, None),
        pairs=(query_count, document_count),
        counts=(query_count, document_count),
        widths=(query_width, 0),
        document_tokens=-(-documents.shape[0] // max(document_count, 1)),
        with_argmax=with_argmax,
        check_finite=check_finite,
        allow_tf32=allow_tf32,
    )


def score_pairs_packed(
    queries: Tensor,
    query_offsets: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    pair_query_ids: Tensor,
    pair_document_ids: Tensor,
    *,
    max_q_len: int,
    with_argmax: bool,
    check_finite: bool,
    allow_tf32: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Score the given pairs of packed queries and packed documents.

    Args:
        queries: [Tq, D] fp32, fp16 or bf16.
        query_offsets: [Nq + 1] integers.
        documents: [Td, D], same dtype.
        document_offsets: [Nb + 1] integers.
        pair_query_ids: [P] integers.
        pair_document_ids: [P] integers.
        max_q_len: at least the longest paired query.
        with_argmax: also return the winning document token of every query token.
        check_finite: raise a flag on non-finite dot products.
        allow_tf32: round fp32 input to tf32 for the tensor cores.

    Returns:
        Scores [P] fp32; winners [P, max_q_len] int32 or None; flags [4] int32.
    """
    document_count = document_offsets.shape[0] - 1
    return _launch(
        PACKED,
        queries,
        documents,
        (query_offsets, document_offsets, pair_query_ids, pair_document_ids),
        pairs=(pair_query_ids.shape[0],),
        counts=(query_offsets.shape[0] - 1, document_count),
        widths=(max_q_len, 0),
        document_tokens=-(-documents.shape[0] // max(document_count, 1)),
        with_argmax=with_argmax,
        check_finite=check_finite,
        allow_tf32=allow_tf32,
    )


def _launch(
    layout: tl.constexpr,
    queries: Tensor,
    documents: Tensor,
    indices: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    *,
    pairs: tuple[int, ...],
    counts: tuple[int, int],
    widths: tuple[int, int],
    document_tokens: int,
    with_argmax: bool,
    check_finite: bool,
    allow_tf32: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Allocate the results, choose the tile and launch one program for every pair or group of pairs."""
    device, dim = queries.device, queries.shape[-1]
    query_width = widths[0]
    flags = torch.zeros(4, dtype=torch.int32, device=device)
    scores = torch.empty(pairs, dtype=torch.float32, device=device)
    winners = None
    if with_argmax:
        winners = torch.full((*pairs, query_width), -1, dtype=torch.int32, device=device)
    if scores.numel() == 0:
        return scores, winners, flags
    exact_fp32 = queries.dtype == torch.float32 and not allow_tf32
    shape = tile_shape(
        query_width,
        document_tokens,
        dim,
        queries.element_size(),
        queries=counts[0] if layout.value == CONTRASTIVE.value else 1,
        exact_fp32=exact_fp32,
    )
    group = shape.group if layout.value == CONTRASTIVE.value else 1
    programs = -(-counts[0] // group) * counts[1] if layout.value == CONTRASTIVE.value else scores.numel()
    # Unused pointers still need a tensor; the kernel never dereferences them.
    query_bounds, document_bounds, pair_query_ids, pair_document_ids = (
        flags if index is None else index.contiguous() for index in indices
    )
    score_tiles[(programs,)](
        queries.contiguous(),
        documents.contiguous(),
        query_bounds,
        document_bounds,
        pair_query_ids,
        pair_document_ids,
        scores,
        flags if winners is None else winners,
        flags,
        counts[0],
        counts[1],
        queries.numel() // dim,
        documents.numel() // dim,
        query_width,
        widths[1],
        dim,
        shape.length_bucket,
        layout=layout.value,
        block_l=shape.block_l,
        group=group,
        block_k=shape.block_k,
        resident=shape.block_k >= dim,
        with_argmax=with_argmax,
        check_finite=check_finite,
        precision="ieee" if exact_fp32 else "tf32",
    )
    return scores, winners, flags
