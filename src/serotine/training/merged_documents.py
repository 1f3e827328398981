"""Token pooling within the training loss, so that a model learns vectors that survive merging."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serotine.encoders import TokenPooling, cluster_tokens


def merged_documents(documents: Tensor, mask: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Merge the vectors of every document, about `factor` into one; gradients reach every one of them.

    Args:
        documents: vectors of length 1, (queries, documents, tokens, dim).
        mask: which of them are tokens, bool (queries, documents, tokens).
        factor: see `TokenPooling`; the first vector of a document is never merged.

    Returns:
        Vectors of length 1, (queries, documents, clusters, dim) of the same dtype, and their mask.
    """
    vectors, tokens = documents.flatten(0, 1), mask.flatten(0, 1)
    labels = torch.zeros(tokens.shape, dtype=torch.long)
    counts = torch.zeros(len(vectors), dtype=torch.long)
    cpu_vectors, cpu_tokens = vectors.detach().float().cpu(), tokens.cpu()
    for number, token_mask in enumerate(cpu_tokens):
        positions = token_mask.nonzero()[:, 0]
        text = cpu_vectors[number, positions].numpy()
        clusters = cluster_tokens(text, TokenPooling(factor)) if len(text) else []
        counts[number] = len(clusters)
        for label, members in enumerate(clusters):
            labels[number, positions[torch.from_numpy(members)]] = label
    width = max(int(counts.max()), 1)
    sums = torch.zeros(len(vectors), width, vectors.shape[-1], device=vectors.device)
    cluster_numbers = labels.to(vectors.device)[..., None].expand(-1, -1, vectors.shape[-1])
    # The mean of a cluster has the direction of its sum.
    sums = sums.scatter_add(1, cluster_numbers, vectors.float() * tokens[..., None])
    merged = nn.functional.normalize(sums, dim=-1).to(documents.dtype)
    merged_mask = (torch.arange(width) < counts[:, None]).to(vectors.device)
    return merged.unflatten(0, documents.shape[:2]), merged_mask.unflatten(0, documents.shape[:2])
