"""XTR (Lee et al. 2023, arXiv 2304.01982): scores that count retrieved tokens only.

Every query token retrieves its `k_token` most similar tokens among all documents. A document's similarity to a query
token is that of its best retrieved token. Only these similarities have gradients.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch

from serotine.errors import check_count, check_flags
from serotine.maxsim.torch.checks import check_offsets, check_offsets_shape, check_vectors, raise_nonfinite
from serotine.maxsim.torch.colbert import dense_and_mask

if TYPE_CHECKING:
    from torch import Tensor


def xtr_scores(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    *,
    k_token: int = 256,
    impute: bool = False,
) -> Tensor:
    """Return the XTR scores of every query with every document.

    A training loss scores without imputation: the mean over the query tokens that retrieved a token of the document; 0
    where none did. A search scores with it: the mean over all query tokens, where a missing similarity is that of the
    last token the query token retrieved.

    Args:
        queries_embeddings: [Nq, Lq, D], tensor or array, or a list of [tokens, D].
        documents_embeddings: [Nd, Ld, D], or [Nd, N, Ld, D] for groups of N documents, or a list of
            [tokens, D].
        queries_mask: [Nq, Lq], non-zero for real tokens; all by default.
        documents_mask: [Nd, Ld] or [Nd, N, Ld], likewise.
        k_token: tokens that every query token retrieves; all where the documents have fewer. Ties go to the earlier
            document and the lower token.
        impute: score with imputed similarities.

    Returns:
        [Nq, Nd] or [Nq, Nd * N] float32, group by group: column ``j * N + n`` is document n of group j. A query
        with no tokens scores 0; otherwise a document with no tokens scores -inf. Gradients flow to both embeddings.

    Raises:
        ValueError: `k_token` below 1, wrong rank or shape of embeddings or masks, non-finite input.
        TypeError: embeddings that are not floating, or of two dtypes.
        RuntimeError: tensors on different devices.

    >>> import torch
    >>> queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> documents = torch.tensor([[[0.5, 0.25], [0.75, 0.0]], [[1.0, 0.0], [0.0, 0.5]]])
    >>> xtr_scores(queries, documents, k_token=1).tolist()
    [[0.0, 0.75]]
    >>> xtr_scores(queries, documents, k_token=2, impute=True).tolist()
    [[0.5, 0.75]]
    """
    check_count("k_token", k_token)
    check_flags(impute=impute)
    queries, query_mask = dense_and_mask(queries_embeddings, queries_mask, "queries", ranks=(3,))
    documents, document_mask = dense_and_mask(documents_embeddings, documents_mask, "documents", ranks=(3, 4))
    documents, document_mask = documents.flatten(0, -3), document_mask.flatten(0, -2)
    check_vectors(queries, documents, "(Nq, Lq, D)", "(Nd, Ld, D)")
    # Masked tokens may hold any value, NaN included.
    queries = queries.masked_fill(~query_mask[..., None], 0.0)
    documents = documents.masked_fill(~document_mask[..., None], 0.0)
    dtype = torch.promote_types(queries.dtype, torch.float32)
    rows = queries.flatten(0, 1).to(dtype) @ documents.flatten(0, 1).to(dtype).T
    if not bool(rows.isfinite().all()):
        raise_nonfinite()
    similarities, retrieved = _best_retrieved(rows, document_mask, k_token, impute=impute)
    similarities = similarities.unflatten(0, query_mask.shape)
    counted = query_mask[..., None] & (retrieved.unflatten(0, query_mask.shape) | impute)
    scores = similarities.where(counted, 0.0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
    empty = ~document_mask.any(dim=1) & query_mask.any(dim=1)[:, None]
    return scores.masked_fill(empty, -torch.inf)


def score_xtr(
    query: Tensor, documents: Tensor, document_offsets: Tensor, k_token: int, *, impute: bool = True
) -> Tensor:
    """Return the XTR scores of one query with all documents; gradients flow to both.

    Args:
        query: [query tokens, D], floating.
        documents: [T, D], the documents' tokens one after another; another floating dtype is converted.
        document_offsets: [documents + 1] int32 or int64 within [0, T], never decreasing.
        k_token: tokens that every query token retrieves; all where the documents have fewer.
        impute: score with imputed similarities, see `xtr_scores`.

    Returns:
        float32 [documents].

    Raises:
        ValueError, TypeError, RuntimeError: as `xtr_scores`, and for wrong offsets.
    """
    if query.dim() != 2:
        raise ValueError(f"query: must have shape (query tokens, D), got {tuple(query.shape)}")
    if documents.dim() != 2:
        raise ValueError(f"documents: must have shape (tokens, D), got {tuple(documents.shape)}")
    check_offsets_shape("document_offsets", document_offsets, query.device)
    check_offsets("document_offsets", document_offsets, documents.shape[0])
    common = torch.promote_types(documents.dtype, query.dtype)
    parts = [documents[first:last].to(common) for first, last in itertools.pairwise(document_offsets.tolist())]
    if not parts:
        return query.new_zeros(0, dtype=torch.float32)
    return xtr_scores(query[None].to(common), parts, k_token=k_token, impute=impute)[0]


def _best_retrieved(rows: Tensor, document_mask: Tensor, k_token: int, *, impute: bool) -> tuple[Tensor, Tensor]:
    """Return every document's best retrieved similarity to every query token, and where there is one.

    Args:
        rows: [T, Nd * Ld], the similarities of query tokens with document tokens.
        document_mask: bool [Nd, Ld], the real tokens.
        k_token: how many tokens a query token retrieves.
        impute: replace what is missing by the similarity of the last retrieved token, and by 0 otherwise.

    Returns:
        Similarities and bool, both [T, Nd].
    """
    count, length = document_mask.shape
    real = document_mask.flatten()
    depth = min(k_token, int(real.sum()))
    if depth == 0:
        return rows.new_zeros(len(rows), count), rows.new_zeros(len(rows), count, dtype=torch.bool)
    with torch.no_grad():
        ranked = rows.masked_fill(~real, -torch.inf)
        last = ranked.topk(depth, dim=1).values[:, -1:]
        above, tied = ranked > last, ranked == last
        # topk does not promise which of equal values it returns; these are the lowest.
        tied &= tied.cumsum(dim=1) <= depth - above.sum(dim=1, keepdim=True)
        taken = (above | tied).unflatten(1, (count, length))
        ranked = ranked.unflatten(1, (count, length)).masked_fill(~taken, -torch.inf)
        best = ranked.amax(dim=2, keepdim=True)
        winners = (ranked == best).to(torch.int8).argmax(dim=2)
        last_token = length * count - 1 - tied.flip(1).to(torch.int8).argmax(dim=1, keepdim=True)
    retrieved = taken.any(dim=2)
    similarities = rows.gather(1, winners + torch.arange(count, device=rows.device) * length)
    missing = rows.gather(1, last_token) if impute else rows.new_zeros(())
    return similarities.where(retrieved, missing), retrieved
