"""CPU tensors, passed to the compiled core without a copy, bfloat16 included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from serotine.maxsim import contract, native
from serotine.maxsim.torch import reference

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Pairs

_CODES = {torch.float32: contract.F32, torch.float16: contract.F16, torch.bfloat16: contract.BF16}


def forward_cpu(
    pairs: Pairs, queries: Tensor, documents: Tensor, *, with_argmax: bool, allow_nonfinite: bool
) -> tuple[Tensor, Tensor | None]:
    """Score CPU tensors whose shapes, lengths and offsets have been checked.

    float64, which the core does not support, takes the reference path and gives float64 scores.

    Returns:
        Scores of shape ``pairs.shape``, and winners int32 ``(*pairs.shape, pairs.width)`` with `with_argmax`.
    """
    if queries.dtype == torch.float64:
        scores, winners = reference.score(queries, documents, pairs, allow_nonfinite=allow_nonfinite)
        return scores, winners if with_argmax else None
    query_tokens = _tokens(queries, pairs.query_begin, pairs.query_end, "queries")
    document_tokens = _tokens(documents, pairs.document_begin, pairs.document_end, "documents")
    width = pairs.width if with_argmax else 0
    if pairs.complete:
        # The grid prepares each query once for all documents.
        result = native.grid(query_tokens, document_tokens, winner_width=width, allow_nonfinite=allow_nonfinite)
    else:
        result = native.pairs(
            query_tokens,
            document_tokens,
            pairs.queries.numpy(),
            pairs.documents.numpy(),
            winner_width=width,
            allow_nonfinite=allow_nonfinite,
        )
    scores = torch.from_numpy(result[0]).reshape(pairs.shape)
    if not with_argmax:
        return scores, None
    return scores, torch.from_numpy(result[1]).reshape(*pairs.shape, pairs.width)


def top_k_cpu(
    pairs: Pairs, queries: Tensor, documents: Tensor, keep: Tensor | None, k: int, *, allow_nonfinite: bool
) -> tuple[Tensor, Tensor]:
    """Return the k best documents of every query on the CPU: scores float32, numbers int64, both [queries, k]."""
    scores, numbers = native.top_k(
        _tokens(queries, pairs.query_begin, pairs.query_end, "queries"),
        _tokens(documents, pairs.document_begin, pairs.document_end, "documents"),
        None if keep is None else keep.contiguous().numpy().view(np.uint8),
        k,
        allow_nonfinite=allow_nonfinite,
    )
    return torch.from_numpy(scores), torch.from_numpy(numbers)


def _tokens(vectors: Tensor, begin: Tensor, end: Tensor, name: str) -> contract.Tokens:
    rows = vectors.detach().reshape(-1, vectors.shape[-1]).contiguous()
    if rows.dtype == torch.bfloat16:
        # NumPy has no bfloat16: the core takes its bits and a dtype code.
        rows = rows.view(torch.int16)
    data = rows.numpy()
    return contract.Tokens(
        data.view(np.uint16) if vectors.dtype == torch.bfloat16 else data,
        _CODES[vectors.dtype],
        None,
        begin.contiguous().numpy(),
        end.contiguous().numpy(),
        name,
    )
