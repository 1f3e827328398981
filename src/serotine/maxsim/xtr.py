"""XTR's scores of one query with several documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.errors import check_count, check_flags
from serotine.maxsim import contract, native
from serotine.maxsim.contract import Array
from serotine.maxsim.dispatch import also_torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@also_torch
def score_xtr(
    query: Array,
    documents: Array,
    document_offsets: Array,
    k_token: int,
    *,
    impute: bool = True,
    query_scales: Array | None = None,
    document_scales: Array | None = None,
) -> Array:
    """Return the XTR scores of one query with all documents (Lee et al. 2023, arXiv 2304.01982).

    Every query token retrieves its `k_token` most similar tokens among all documents. A document's similarity to a
    query token is that of its best retrieved token. `xtr_scores` is the same for batches of torch tensors.

    Args:
        query: shape (query tokens, dim); float32, float16, bfloat16 or int8.
        documents: shape (tokens, dim), the documents end to end. A floating dtype may differ from the query's; int8
            needs int8.
        document_offsets: integers (documents + 1,): document i owns rows offsets[i]:offsets[i + 1].
        k_token: tokens that every query token retrieves; all where the documents have fewer. Ties go to the earlier
            document and the lower token.
        impute: as in a search, the mean over all query tokens, where a missing similarity is that of the last token the
            query token retrieved; otherwise, as in training, over those that retrieved a token of the document, 0 where
            none did.
        query_scales: float32 (query tokens,), only for int8 (see `quantize`).
        document_scales: float32 (tokens,), only for int8.

    Returns:
        float32 (documents,). A query with no tokens scores 0; otherwise a document with no tokens scores -inf. A torch
        query gives a torch result, through which gradients flow.

    Raises:
        ValueError: `k_token` below 1, wrong rank, dimension, offsets or non-finite values.
        TypeError: wrong dtype, or int8 against float.

    >>> import numpy as np
    >>> query = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    >>> documents = np.array([[0.5, 0.25], [0.75, 0.0], [1.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    >>> score_xtr(query, documents, [0, 2, 4], k_token=2).tolist()
    [0.5, 0.75]
    """
    check_count("k_token", k_token)
    check_flags(impute=impute)
    q = contract.one_query(query, query_scales)
    d = contract.packed(documents, "documents", document_offsets, "document_offsets", document_scales, "(tokens, dim)")
    contract.check_same_kind(q, d, strict=False)
    scores: NDArray[np.float32] = native.xtr(q, d, min(k_token, max(len(d.data), 1)), impute=impute)[0]
    return scores
