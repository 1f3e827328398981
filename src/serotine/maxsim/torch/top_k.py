# mypy: disable-error-code="import-not-found"
"""The k best documents of every query, without a score for every pair in memory.

Documents are scored in slices of bounded size and each slice is folded into the running best. Scoring reads
hundreds of bytes for every token and writes four for a whole document, so a selection inside the scoring
kernel would save nothing that can be measured; bounding the slice is what keeps the memory flat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.torch.checks import check_offsets
from serotine.maxsim.torch.contrastive import Contrastive, score_contrastive

if TYPE_CHECKING:
    from torch import Tensor

# Scores alive at once; 16 MiB of float32.
_SCORES_AT_ONCE = 1 << 22


def top_k(
    queries: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    k: int,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor]:
    """The k best packed documents of every query, best first, ties to the lower document.

    Args:
        queries: [Nq, Lq, D] float32, float16 or bfloat16, every token real.
        documents: [T, D], same dtype and device, the documents' tokens one after another.
        document_offsets: [Nb + 1] int32 or int64, from 0 to T, never falling.
        k: at least 1; where there are fewer documents the last places hold -inf and -1.
        allow_nonfinite: score NaN and infinite values instead of refusing them.
        allow_tf32: on CUDA, round float32 input to tf32 for the tensor cores.

    Returns:
        Scores [Nq, k] float32 and document numbers [Nq, k] int64.

    Raises:
        ValueError: k below 1, and whatever `score_contrastive` refuses.
        TypeError: as `score_contrastive`.
        RuntimeError: as `score_contrastive`.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    layout = Contrastive(document_offsets)
    layout.check_shapes(queries, documents)
    check_offsets("document_offsets", document_offsets, documents.shape[0])
    query_count, document_count = queries.shape[0], document_offsets.shape[0] - 1
    best = torch.full((query_count, k), _key(float("-inf"), -1), dtype=torch.int64, device=queries.device)
    step = max(_SCORES_AT_ONCE // max(query_count, 1), 1)
    for start in range(0, document_count, step):
        offsets = document_offsets[start : start + step + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        scores = score_contrastive(
            queries,
            documents[first:last],
            offsets - first,
            allow_nonfinite=allow_nonfinite,
            allow_tf32=allow_tf32,
        )
        numbers = torch.arange(start, start + scores.shape[1], device=queries.device)
        best = torch.cat([best, _keys(scores, numbers)], dim=1).topk(k, dim=1).values
    return _unpack(best)


def _keys(scores: Tensor, numbers: Tensor) -> Tensor:
    """One int64 per candidate that sorts by score, then by lower number: a total order, so ties are decided."""
    bits = scores.float().view(torch.int32).to(torch.int64)
    # Negative floats order backwards in their bits; flipping all but the sign puts them the right way round.
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered << 32) | (0xFFFFFFFF - (numbers + 1))


def _key(score: float, number: int) -> int:
    """The key of one candidate; number -1 marks an empty place, which sorts below every document's -inf."""
    bits = int(torch.tensor(score).view(torch.int32))
    ordered = bits ^ 0x7FFFFFFF if bits < 0 else bits
    return (ordered << 32) | (0 if number < 0 else 0xFFFFFFFF - (number + 1))


def _unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The scores and document numbers behind sorted keys."""
    ordered, low = keys >> 32, keys & 0xFFFFFFFF
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    numbers = torch.where(low == 0, -1, 0xFFFFFFFF - low - 1)
    return bits.to(torch.int32).view(torch.float32), numbers
