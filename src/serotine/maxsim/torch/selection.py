"""The k best documents of every query, without a score for every pair in memory.

On the CPU the compiled core tracks the best documents of each query. On CUDA documents are scored in slices of bounded
size, and each slice is merged into the running best: scoring reads hundreds of bytes for every token and writes
four for a whole document, so selecting inside the scoring kernel would save next to nothing, while slices bound
the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.torch import backend
from serotine.maxsim.torch.contrastive import Contrastive, score_contrastive
from serotine.maxsim.torch.cpu import top_k_cpu

if TYPE_CHECKING:
    from torch import Tensor

# Scores in memory at once: 16 MiB of float32.
_SCORES_AT_ONCE = 1 << 22
_NO_DOCUMENT = 0xFFFFFFFF


def top_k(
    queries: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    k: int,
    *,
    keep: Tensor | None = None,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the k best packed documents of every query, best first, ties to the lower document.

    Args:
        queries: [Nq, Lq, D] or, for one query, [Lq, D]; float32, float16 or bfloat16, without padding.
        documents: [T, D], same dtype and device, the documents' tokens one after another.
        document_offsets: [Nb + 1] int32 or int64 within [0, T], never decreasing.
        k: number of documents; fewer are returned when there are fewer (or fewer in `keep`), as the shape shows.
        keep: [Nb] bool, the documents to consider; all by default.
        allow_nonfinite: accept NaN and infinity; NaN then never wins.
        allow_tf32: on CUDA, round float32 input to tf32 for the tensor cores.

    Returns:
        Scores float32 and document numbers int64, both [Nq, k] or, for one query, [k].

    Raises:
        ValueError: k below 1, and as `score_contrastive`.
        TypeError: k is not an int, `keep` is not bool, and as `score_contrastive`.
        RuntimeError: as `score_contrastive`.
    """
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"k: must be an int of at least 1, got {type(k).__name__}")
    if k < 1:
        raise ValueError(f"k: must be at least 1, got {k}")
    single = isinstance(queries, torch.Tensor) and queries.dim() == 2
    if single:
        queries = queries[None]
    layout = Contrastive(document_offsets)
    layout.check_shapes(queries, documents)
    count = document_offsets.shape[0] - 1
    if keep is not None:
        if not isinstance(keep, torch.Tensor) or keep.dtype != torch.bool:
            raise TypeError(f"keep: must be a bool torch.Tensor, got {getattr(keep, 'dtype', type(keep).__name__)}")
        if keep.shape != (count,):
            raise ValueError(f"keep: must have shape ({count},), one per document, got {tuple(keep.shape)}")
    k = min(k, count if keep is None else int(keep.sum()))
    with torch.no_grad():
        if backend.of(queries) == "cpu":
            layout.check_values(queries, documents)
            queries, documents = (t.float() if t.dtype == torch.float64 else t for t in (queries, documents))
            pairs = layout.pairs(queries, documents)
            scores, numbers = top_k_cpu(pairs, queries, documents, keep, k, allow_nonfinite=allow_nonfinite)
        else:
            scores, numbers = _top_k_in_slices(
                queries, documents, document_offsets, k, keep, allow_nonfinite, allow_tf32
            )
    return (scores[0], numbers[0]) if single else (scores, numbers)


def _top_k_in_slices(
    queries: Tensor,
    documents: Tensor,
    document_offsets: Tensor,
    k: int,
    keep: Tensor | None,
    allow_nonfinite: bool,
    allow_tf32: bool,
) -> tuple[Tensor, Tensor]:
    """Score documents slice by slice, and merge each slice into the best so far."""
    query_count, count = queries.shape[0], document_offsets.shape[0] - 1
    no_scores = torch.full((query_count, k), -torch.inf, device=queries.device)
    best = _keys(no_scores, torch.full((k,), _NO_DOCUMENT, device=queries.device))
    step = max(_SCORES_AT_ONCE // max(query_count, 1), 1)
    for start in range(0, count, step):
        offsets = document_offsets[start : start + step + 1]
        scores = score_contrastive(queries, documents, offsets, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)
        numbers = torch.arange(start, start + scores.shape[1], device=queries.device)
        if keep is not None:
            numbers = torch.where(keep[start : start + step], numbers, _NO_DOCUMENT)
            scores = torch.where(numbers == _NO_DOCUMENT, -torch.inf, scores)
        best = torch.cat([best, _keys(scores, numbers)], dim=1).topk(k, dim=1).values
    ordered, low = best >> 32, best & _NO_DOCUMENT
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).to(torch.int32)
    return bits.view(torch.float32), _NO_DOCUMENT - low


def _keys(scores: Tensor, numbers: Tensor) -> Tensor:
    """Return one int64 per candidate that sorts by score, then by lower number: a total order without ties."""
    # Adding zero turns -0 into +0; a NaN score, which only inf - inf gives, must not rank first.
    scores = torch.where(scores.isnan(), -torch.inf, scores + 0.0)
    bits = scores.float().view(torch.int32).to(torch.int64)
    # The bits of negative floats are in reverse order; flipping all but the sign corrects that.
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered << 32) | (_NO_DOCUMENT - numbers)
