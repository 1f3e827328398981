"""Embeddings in every shape PyLate's functions take them in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_array(embeddings: Any) -> NDArray[np.float32]:
    """One text's vectors, a tensor, an array or nested lists, as float32 (tokens, dim); a leading axis of 1 goes."""
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().float().cpu().numpy()
    array = np.asarray(embeddings, dtype=np.float32)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    return array


def as_arrays(embeddings: Any, name: str) -> list[NDArray[np.float32]]:
    """The vectors of each of several texts.

    Args:
        embeddings: a list of (tokens, dim) arrays or tensors, one array or tensor (texts, tokens, dim), or that of a
            single text, (tokens, dim).
        name: the argument's, for messages.

    Raises:
        ValueError: something else; the message names the place.
    """
    dimensions = getattr(embeddings, "ndim", None)
    items = [embeddings] if dimensions == 2 else list(embeddings)
    arrays = []
    for i, item in enumerate(items):
        array = as_array(item)
        if array.ndim != 2:
            raise ValueError(f"{name}[{i}]: want shape (tokens, dim), got {array.shape}")
        arrays.append(array)
    return arrays
