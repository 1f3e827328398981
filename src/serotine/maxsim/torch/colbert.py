"""The scoring functions of sentence-transformers and PyLate, computed by these kernels.

Pass them where those libraries accept a scoring function: `colbert_scores` as ``similarity_fct`` of
sentence-transformers' MultiVectorMultipleNegativesRankingLoss and its cached form, or as ``score_metric`` of
PyLate's Contrastive and CachedContrastive; `colbert_kd_scores` for the distillation losses of both;
`colbert_scores_pairwise` for MultiVectorMarginMSELoss.

Masks may have holes. Two rules differ from those libraries on purpose: a document with every token masked scores
-inf (sentence-transformers writes -1e9; in PyLate it scores 0 and can beat real documents), and without a mask
every token counts (sentence-transformers treats an all-zero row as padding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from serotine.maxsim.torch.contrastive import score_contrastive_train
from serotine.maxsim.torch.packed import score_pairs_packed_train

if TYPE_CHECKING:
    from torch import Tensor


def colbert_scores(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    *,
    length_normalize: bool = False,
    allow_nonfinite: bool = False,
) -> Tensor:
    """Return the scores of every query with every document, as with in-batch negatives.

    Args:
        queries_embeddings: [Nq, Lq, D], tensor or array, or a list of [tokens, D].
        documents_embeddings: [Nd, Ld, D], or [Nd, N, Ld, D] for groups of N documents, or a list of
            [tokens, D].
        queries_mask: [Nq, Lq], non-zero for real tokens; all by default.
        documents_mask: [Nd, Ld] or [Nd, N, Ld], likewise.
        length_normalize: divide by the number of real query tokens (MeanMaxSim).
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        [Nq, Nd] or [Nq, Nd * N] float32, group by group: column ``j * N + n`` is document n of group j.
        Gradients flow to both embeddings.

    Raises:
        ValueError: wrong rank or shape of embeddings or masks, non-finite input.
        TypeError: embeddings that are not floating, or of two dtypes.
        RuntimeError: tensors on different devices, or a device without a backend.

    >>> import torch
    >>> queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> documents = torch.tensor([[[0.5, 0.25], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.5]]])
    >>> colbert_scores(queries, documents, documents_mask=torch.tensor([[1, 0], [1, 1]])).tolist()
    [[0.75, 1.5]]
    """
    queries, query_mask = dense_and_mask(queries_embeddings, queries_mask, "queries", ranks=(3,))
    documents, document_mask = dense_and_mask(documents_embeddings, documents_mask, "documents", ranks=(3, 4))
    packed, offsets = _pack(documents.flatten(0, -3), document_mask.flatten(0, -2))
    # A zeroed query token adds exactly 0 wherever a document has tokens, so queries stay a dense block.
    dense = queries.masked_fill(~query_mask[..., None], 0.0)
    scores = score_contrastive_train(dense, packed, offsets, allow_nonfinite=allow_nonfinite)
    lengths = query_mask.sum(dim=1)[:, None]
    scores = scores.masked_fill(lengths == 0, 0.0)
    return scores / lengths.clamp(min=1) if length_normalize else scores


def colbert_scores_pairwise(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    *,
    length_normalize: bool = False,
    allow_nonfinite: bool = False,
) -> Tensor:
    """Return the scores of query i with document i.

    Args:
        queries_embeddings: [N, Lq, D], tensor or array, or a list of [tokens, D].
        documents_embeddings: [N, Ld, D], likewise.
        queries_mask: [N, Lq], non-zero for real tokens; all by default.
        documents_mask: [N, Ld], likewise.
        length_normalize: divide by the number of real query tokens (MeanMaxSim).
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        [N] float32. Gradients flow to both embeddings.

    Raises:
        ValueError, TypeError, RuntimeError: as `colbert_scores`.

    >>> import torch
    >>> tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.0], [0.0, 0.5]]])
    >>> colbert_scores_pairwise(tokens, tokens).tolist()
    [2.0, 0.5]
    """
    documents, document_mask = dense_and_mask(documents_embeddings, documents_mask, "documents", ranks=(3,))
    return colbert_kd_scores(
        queries_embeddings,
        documents[:, None],
        queries_mask,
        document_mask[:, None],
        length_normalize=length_normalize,
        allow_nonfinite=allow_nonfinite,
    )[:, 0]


def colbert_kd_scores(
    queries_embeddings: Any,
    documents_embeddings: Any,
    queries_mask: Tensor | None = None,
    documents_mask: Tensor | None = None,
    *,
    length_normalize: bool = False,
    allow_nonfinite: bool = False,
) -> Tensor:
    """Return the scores of every query with its own candidates, as in distillation from a teacher.

    Args:
        queries_embeddings: [N, Lq, D], tensor or array, or a list of [tokens, D].
        documents_embeddings: [N, C, Ld, D], tensor or array.
        queries_mask: [N, Lq], non-zero for real tokens; all by default.
        documents_mask: [N, C, Ld], likewise.
        length_normalize: divide by the number of real query tokens (MeanMaxSim).
        allow_nonfinite: accept NaN and infinity; NaN then never wins.

    Returns:
        [N, C] float32. Gradients flow to both embeddings.

    Raises:
        ValueError, TypeError, RuntimeError: as `colbert_scores`.

    >>> import torch
    >>> queries = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> documents = torch.tensor([[[[0.5, 0.25], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.5]]]])
    >>> colbert_kd_scores(queries, documents, documents_mask=torch.tensor([[[1, 0], [1, 1]]])).tolist()
    [[0.75, 1.5]]
    """
    queries, query_mask = dense_and_mask(queries_embeddings, queries_mask, "queries", ranks=(3,))
    documents, document_mask = dense_and_mask(documents_embeddings, documents_mask, "documents", ranks=(4,))
    count, candidates = documents.shape[:2]
    if queries.shape[0] != count:
        raise ValueError(
            f"documents_embeddings: must have {queries.shape[0]} lists of candidates, one per query, "
            f"got shape {tuple(documents.shape)}"
        )
    packed_queries, query_offsets = _pack(queries, query_mask)
    packed_documents, document_offsets = _pack(documents.flatten(0, 1), document_mask.flatten(0, 1))
    numbers = torch.arange(count * candidates, device=queries.device)
    scores = score_pairs_packed_train(
        packed_queries,
        query_offsets,
        packed_documents,
        document_offsets,
        numbers // max(candidates, 1),
        numbers,
        max_q_len=queries.shape[1],
        allow_nonfinite=allow_nonfinite,
    ).reshape(count, candidates)
    return scores / query_mask.sum(dim=1)[:, None].clamp(min=1) if length_normalize else scores


def dense_and_mask(embeddings: Any, mask: Any, name: str, ranks: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the embeddings as a dense tensor, and a bool mask of the same leading shape."""
    if isinstance(embeddings, (list, tuple)):
        items = [torch.as_tensor(item) for item in embeddings]
        lengths = torch.tensor([len(item) for item in items])
        embeddings = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
        real = torch.arange(embeddings.shape[1]) < lengths[:, None]
        mask = real.to(embeddings.device) if mask is None else mask
    embeddings = torch.as_tensor(embeddings)
    if embeddings.dim() not in ranks:
        expected = " or ".join(str(rank) for rank in ranks)
        raise ValueError(f"{name}_embeddings: must have rank {expected}, got shape {tuple(embeddings.shape)}")
    if mask is None:
        return embeddings, embeddings.new_ones(embeddings.shape[:-1], dtype=torch.bool)
    mask = torch.as_tensor(mask)
    if mask.shape != embeddings.shape[:-1]:
        raise ValueError(f"{name}_mask: must have shape {tuple(embeddings.shape[:-1])}, got {tuple(mask.shape)}")
    return embeddings, mask.to(device=embeddings.device, dtype=torch.bool)


def _pack(vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the real tokens of [items, tokens, D] end to end, and their offsets."""
    offsets = torch.zeros(mask.shape[0] + 1, dtype=torch.int64, device=mask.device)
    torch.cumsum(mask.sum(dim=1), dim=0, out=offsets[1:])
    return vectors[mask], offsets
