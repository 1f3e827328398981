"""Token pooling: document vectors that are near each other become their mean (Clavié, Chaffin and Adams 2024).

Ward's linkage on cosine distances, as sentence-transformers' HierarchicalTokenPooling has it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import TokenPooling
from serotine.errors import EncoderError


def clusters(vectors: NDArray[np.float32], pooling: TokenPooling) -> list[NDArray[np.int64]]:
    """Which rows become one.

    Args:
        vectors: (tokens, dim), rows of length 1.
        pooling: how many are left; its first `protected` rows stay by themselves.

    Returns:
        Row numbers of every cluster, the protected rows first.

    Raises:
        EncoderError: SciPy is not installed.
    """
    alone = [np.array([row]) for row in range(min(pooling.protected, len(vectors)))]
    rest = vectors[pooling.protected :]
    wanted = max(int(len(rest) // pooling.factor), 1)
    if wanted >= len(rest):
        return alone + [np.array([row]) for row in range(len(alone), len(vectors))]
    try:
        # Imported here: only who pools needs it.
        from scipy.cluster import hierarchy
        from scipy.spatial.distance import squareform
    except ImportError:
        raise EncoderError("token pooling needs SciPy; run: pip install 'serotine[pooling]'") from None
    distances = np.clip(1 - rest @ rest.T, 0, 2)
    linkage = hierarchy.linkage(squareform(distances, checks=False), method="ward")
    labels = hierarchy.fcluster(linkage, t=wanted, criterion="maxclust")
    return alone + [np.flatnonzero(labels == label) + len(alone) for label in np.unique(labels)]


def means(vectors: NDArray[np.float32], members: list[NDArray[np.int64]], *, normalise: bool) -> NDArray[np.float32]:
    """The mean of every cluster, float32 (clusters, dim); of length 1 where asked."""
    out = np.empty((len(members), vectors.shape[1]), dtype=np.float32)
    for row, group in enumerate(members):
        out[row] = vectors[group].mean(axis=0)
    if normalise:
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
    return out
