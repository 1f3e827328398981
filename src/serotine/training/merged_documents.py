"""Document vectors merged during training as token pooling merges them, so that a model learns to be merged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serotine.encoders import TokenPooling, cluster_tokens


def merged_documents(documents: Tensor, mask: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Merge the vectors of every document, about `factor` into one; gradients reach those that were merged.

    Args:
        documents: vectors of length 1, (queries, documents, tokens, dim).
        mask: which of them are tokens, bool (queries, documents, tokens).
        factor: of `TokenPooling`.

    Returns:
        Vectors of length 1, (queries, documents, clusters, dim), and their mask.
    """
    flat, kept = documents.flatten(0, 1), mask.flatten(0, 1)
    labels = torch.zeros(kept.shape, dtype=torch.long)
    counts = torch.zeros(len(flat), dtype=torch.long)
    rows, keeping = flat.detach().float().cpu(), kept.cpu()
    for number, keep in enumerate(keeping):
        tokens = keep.nonzero()[:, 0]
        clusters = cluster_tokens(rows[number, tokens].numpy(), TokenPooling(factor)) if len(tokens) else []
        counts[number] = len(clusters)
        for label, members in enumerate(clusters):
            labels[number, tokens[torch.from_numpy(members)]] = label
    width = max(int(counts.max()), 1)
    sums = torch.zeros(len(flat), width, flat.shape[-1], device=flat.device)
    places = labels.to(flat.device)[..., None].expand(-1, -1, flat.shape[-1])
    # The mean of a cluster has the direction of its sum.
    sums = sums.scatter_add(1, places, flat.float() * kept[..., None])
    merged_mask = torch.arange(width) < counts[:, None]
    shape = documents.shape[:2]
    return nn.functional.normalize(sums, dim=-1).unflatten(0, shape), merged_mask.to(flat.device).unflatten(0, shape)
