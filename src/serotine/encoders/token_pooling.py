"""Token pooling: similar document vectors are replaced by their mean (Clavié, Chaffin and Adams 2024).

Ward's linkage on cosine distances, as in sentence-transformers' HierarchicalTokenPooling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import TokenPooling
from serotine.errors import EncoderError, missing_extra


def cluster_tokens(vectors: NDArray[np.float32], pooling: TokenPooling) -> list[NDArray[np.int64]]:
    """Return the clusters of rows that pooling merges.

    Args:
        vectors: (tokens, dim), rows of length 1.
        pooling: the number of clusters; each of its first `protected` rows is a cluster by itself.

    Returns:
        The row numbers of every cluster, protected rows first.

    Raises:
        EncoderError: SciPy is not installed.
    """
    single = [np.array([row]) for row in range(min(pooling.protected, len(vectors)))]
    mergeable = vectors[pooling.protected :]
    count = max(int(len(mergeable) // pooling.factor), 1)
    if count >= len(mergeable):
        return single + [np.array([row]) for row in range(len(single), len(vectors))]
    try:
        # Imported here: only pooling needs it.
        from scipy.cluster import hierarchy
        from scipy.spatial.distance import squareform
    except ImportError:
        raise EncoderError(missing_extra("token pooling", "pooling")) from None
    distances = np.clip(1 - mergeable @ mergeable.T, 0, 2)
    linkage = hierarchy.linkage(squareform(distances, checks=False), method="ward")
    labels = hierarchy.fcluster(linkage, t=count, criterion="maxclust")
    return single + [np.flatnonzero(labels == label) + len(single) for label in np.unique(labels)]


def merge_tokens(vectors: NDArray[np.float32], pooling: TokenPooling) -> NDArray[np.float32]:
    """Return the vectors of a text, float32 (tokens, dim), as pooling merges them."""
    return cluster_means(vectors, cluster_tokens(vectors, pooling), normalize=pooling.normalize)


def cluster_means(
    vectors: NDArray[np.float32], clusters: list[NDArray[np.int64]], *, normalize: bool
) -> NDArray[np.float32]:
    """Return the mean of every cluster, float32 (clusters, dim), scaled to length 1 if `normalize`."""
    means = np.empty((len(clusters), vectors.shape[1]), dtype=np.float32)
    for row, members in enumerate(clusters):
        means[row] = vectors[members].mean(axis=0)
    if normalize:
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return means
