"""MaxSim of one query with several documents, as torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.torch.contrastive import score_contrastive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def score(
    query: Tensor,
    documents: Tensor | Sequence[Tensor],
    document_offsets: Tensor | None = None,
    *,
    allow_nonfinite: bool = False,
    allow_tf32: bool = False,
) -> Tensor | float:
    """Return MaxSim of one query with any number of documents.

    Args:
        query: [query tokens, D] float32, float16 or bfloat16.
        documents: a list of tensors [tokens, D]; or one tensor [tokens, D], a single document; or one tensor
            [documents, tokens, D]; or, with `document_offsets`, all documents end to end. Their
            floating dtype may differ from the query's.
        document_offsets: [documents + 1] int32 or int64: document i owns rows offsets[i]:offsets[i + 1].
        allow_nonfinite: accept NaN and infinity; NaN then never wins.
        allow_tf32: on CUDA, round float32 input to tf32 for the tensor cores.

    Returns:
        float32 [documents]; for a single document given as one tensor, a float.

    Raises:
        ValueError: wrong rank, dimension or offsets, non-finite values.
        TypeError: a query or document that is not a floating-point tensor.
        RuntimeError: tensors on different devices, or a device without a backend.
    """
    if query.dim() != 2:
        raise ValueError(f"query: must have shape (query tokens, D), got {tuple(query.shape)}")
    single = False
    if document_offsets is None:
        single = isinstance(documents, torch.Tensor) and documents.dim() == 2
        document_list: list[Tensor] = [documents] if isinstance(documents, torch.Tensor) and single else list(documents)
        for number, document in enumerate(document_list):
            if not isinstance(document, torch.Tensor):
                raise TypeError(f"documents[{number}]: must be a torch.Tensor, got {type(document).__name__}")
            if document.dim() != 2:
                raise ValueError(f"documents[{number}]: must have shape (tokens, D), got {tuple(document.shape)}")
        lengths = torch.tensor([0, *(len(document) for document in document_list)])
        document_offsets = lengths.cumsum(0).to(query.device)
        documents = torch.cat(document_list) if document_list else query.new_zeros(0, query.shape[-1])
    if not isinstance(documents, torch.Tensor):
        raise TypeError(f"documents: must be a torch.Tensor with document_offsets, got {type(documents).__name__}")
    if documents.dtype != query.dtype:
        common = torch.promote_types(documents.dtype, query.dtype)
        query, documents = query.to(common), documents.to(common)
    scores = score_contrastive(
        query[None], documents, document_offsets, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32
    )[0]
    return float(scores[0]) if single else scores
