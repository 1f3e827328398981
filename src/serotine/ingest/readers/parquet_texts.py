"""How many bytes the texts of every row of an Arrow array take as Python values: a dictionary has each of them once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.int64]


def text_bytes(array: Any) -> Sizes:
    """Return the bytes of the texts in every value of a pyarrow array, also of those in lists and structures."""
    import pyarrow.compute
    from pyarrow import types

    kind = array.type
    if types.is_dictionary(kind):
        # Of null there is no index.
        sizes = np.append(text_bytes(array.dictionary), 0)
        return np.asarray(sizes[array.indices.fill_null(len(array.dictionary)).to_numpy(zero_copy_only=False)])
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return _numbers(pyarrow.compute.binary_length(array))
    if types.is_struct(kind):
        # Flattened, its fields have its nulls.
        return sum(map(text_bytes, array.flatten()), np.zeros(len(array), dtype=np.int64))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        before = np.concatenate([[0], np.cumsum(text_bytes(array.values))])
        offsets = array.offsets.to_numpy()
        return np.asarray(before[offsets[1:]] - before[offsets[:-1]], dtype=np.int64)
    if types.is_fixed_size_list(kind):
        # Flattened, lists that are null are left out.
        sizes = np.zeros(len(array), dtype=np.int64)
        filled = array.is_valid().to_numpy(zero_copy_only=False)
        sizes[filled] = text_bytes(array.flatten()).reshape(int(filled.sum()), kind.list_size).sum(axis=1)
        return sizes
    return np.zeros(len(array), dtype=np.int64)


def _numbers(array: Any) -> Sizes:
    return np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
