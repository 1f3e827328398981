"""The backward of MaxSim: entries (pair, query token) grouped by the row that receives them.

d score / d query token is its winning document token, and vice versa. Each gradient is therefore a
sum of weighted rows of the other side: the entries are sorted by destination and every destination sums its own
run of entries. No two writers share a destination, so there are no atomics and the result does not depend on
scheduling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.torch import backend

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Pairs


def query_gradient(grad_scores: Tensor, winners: Tensor, pairs: Pairs, queries: Tensor, documents: Tensor) -> Tensor:
    """Return the gradient of the queries: every query token gathers the document tokens that won for it.

    Args:
        grad_scores: gradient of the scores, shape ``pairs.shape``.
        winners: the saved argmax, shape ``(*pairs.shape, pairs.width)``.
        pairs: the scored pairs, as ranges of rows.
        queries: the forward's queries.
        documents: the forward's documents.

    Returns:
        The gradient, in the shape and dtype of `queries`.
    """
    document_rows = _winning_rows(winners, pairs)
    weights = _weights(grad_scores, documents)[:, None].expand_as(document_rows)
    destinations = queries.numel() // queries.shape[-1]
    if len(pairs.shape) == 2:
        # The entries of one query token are already evenly spaced; a transposition groups them.
        query_count, documents_per_query = pairs.shape
        document_rows, weights = (
            entries.reshape(query_count, documents_per_query, pairs.width).transpose(1, 2).flatten()
            for entries in (document_rows, weights)
        )
        offsets = torch.arange(destinations + 1, device=queries.device) * documents_per_query
    else:
        query_rows = _query_rows(pairs)
        order, offsets = _grouped(torch.where(document_rows < 0, -1, query_rows), destinations)
        document_rows, weights = document_rows.flatten()[order], weights.flatten()[order]
    gradient = gather_sum(documents.reshape(-1, documents.shape[-1]), document_rows, weights, offsets)
    return gradient.reshape(queries.shape)


def document_gradient(grad_scores: Tensor, winners: Tensor, pairs: Pairs, queries: Tensor, documents: Tensor) -> Tensor:
    """Return the gradient of the documents: every document token gathers the query tokens it won for.

    Takes what `query_gradient` takes and returns the gradient in the shape and dtype of `documents`.
    """
    document_rows = _winning_rows(winners, pairs)
    order, offsets = _grouped(document_rows, documents.numel() // documents.shape[-1])
    weights = _weights(grad_scores, queries)[:, None].expand_as(document_rows).flatten()[order]
    query_rows = _query_rows(pairs).flatten()[order]
    gradient = gather_sum(queries.reshape(-1, queries.shape[-1]), query_rows, weights, offsets)
    return gradient.reshape(documents.shape)


def gather_sum(source: Tensor, source_rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Sum weighted source rows into their destinations; `serotine.maxsim.triton.gather_sum` has the shapes."""
    if backend.of(source) == "cuda":
        from serotine.maxsim.triton import gather_sum as gather_sum_cuda

        return gather_sum_cuda(source, source_rows, weights, offsets)
    first, last = int(offsets[0]), int(offsets[-1])  # bags of embedding_bag must start at entry 0
    source_rows, weights, offsets = source_rows[first:last], weights[first:last], offsets - first
    has_source = source_rows >= 0
    if not bool(has_source.all()):
        # A zero weight is not enough: the row of an entry without a source may hold NaN where the caller allows that.
        sources_before = torch.zeros(has_source.shape[0] + 1, dtype=torch.int64, device=has_source.device)
        torch.cumsum(has_source, dim=0, out=sources_before[1:])
        source_rows, weights, offsets = source_rows[has_source], weights[has_source], sources_before[offsets]
    dtype = torch.promote_types(source.dtype, torch.float32)
    # A bag is summed by one thread from first to last entry: the order that the Triton kernel guarantees.
    bags = torch.nn.functional.embedding_bag(
        source_rows,
        source.to(dtype),
        offsets,
        mode="sum",
        per_sample_weights=weights.to(dtype).contiguous(),
        include_last_offset=True,
    )
    return bags.to(source.dtype)


def _winning_rows(winners: Tensor, pairs: Pairs) -> Tensor:
    """Return the winning document row of every (pair, query token), [P, width] int64, -1 for none."""
    winners = winners.reshape(pairs.queries.shape[0], pairs.width)
    return torch.where(winners < 0, -1, winners + pairs.document_begin[pairs.documents, None])


def _query_rows(pairs: Pairs) -> Tensor:
    """Return the query row of every (pair, query token), [P, width] int64."""
    tokens = torch.arange(pairs.width, device=pairs.query_begin.device)
    return pairs.query_begin[pairs.queries, None] + tokens


def _weights(grad_scores: Tensor, source: Tensor) -> Tensor:
    """Return the gradient of every pair's score, flat, in the dtype of accumulation."""
    return grad_scores.flatten().to(torch.promote_types(source.dtype, torch.float32))


def _grouped(destinations: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the order that groups entries by destination, earlier entries first, and the start of each group.

    Args:
        destinations: any shape, int64; entries at -1 belong to no group.
        count: number of destinations.

    Returns:
        The order [E] and offsets [count + 1], both int64; entries at -1 come before the first offset.
    """
    keys = destinations.flatten()
    if count < 2**31:
        keys = keys.to(torch.int32)  # a radix sort of half the passes
    keys, order = torch.sort(keys, stable=True)
    edges = torch.arange(count + 1, device=keys.device, dtype=keys.dtype)
    return order, torch.searchsorted(keys, edges)
