"""MaxSim in plain torch, one pair at a time: the reference for the kernels, and the path of float64.

It reads `Pairs` only, so one loop serves every layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.torch.checks import raise_nonfinite

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Pairs


def score(queries: Tensor, documents: Tensor, pairs: Pairs, *, allow_nonfinite: bool) -> tuple[Tensor, Tensor]:
    """Score every pair, in float64 for float64 input and in float32 otherwise.

    Args:
        queries: token vectors of any leading shape, dimension last.
        documents: likewise.
        pairs: the pairs to score, as ranges of rows.
        allow_nonfinite: score non-finite dot products instead of raising ValueError.

    Returns:
        Scores of shape ``pairs.shape`` and winners of shape ``(*pairs.shape, pairs.width)`` int32.
    """
    dtype = torch.promote_types(queries.dtype, torch.float32)
    query_rows = queries.reshape(-1, queries.shape[-1]).to(dtype)
    document_rows = documents.reshape(-1, documents.shape[-1]).to(dtype)
    count = pairs.queries.shape[0]
    scores = torch.zeros(count, dtype=dtype, device=queries.device)
    winners = torch.full((count, pairs.width), -1, dtype=torch.int32, device=queries.device)
    query_bounds = torch.stack([pairs.query_begin, pairs.query_end], dim=1)[pairs.queries].tolist()
    document_bounds = torch.stack([pairs.document_begin, pairs.document_end], dim=1)[pairs.documents].tolist()
    for pair in range(count):
        query_begin, query_end = query_bounds[pair]
        document_begin, document_end = document_bounds[pair]
        length = query_end - query_begin
        if length == 0:
            continue
        if document_begin == document_end:
            scores[pair] = -torch.inf
            continue
        products = query_rows[query_begin:query_end] @ document_rows[document_begin:document_end].T
        if not allow_nonfinite and not bool(products.isfinite().all()):
            raise_nonfinite()
        products = products.masked_fill(products.isnan(), -torch.inf)
        best = products.max(dim=1).values
        # argmax does not promise the lowest token on a tie; the first position equal to the maximum is the lowest.
        first = (products == best[:, None]).to(torch.int8).argmax(dim=1)
        winners[pair, :length] = torch.where(best == -torch.inf, -1, first).to(torch.int32)
        scores[pair] = best.double().sum()
    return scores.reshape(pairs.shape), winners.reshape(*pairs.shape, pairs.width)
