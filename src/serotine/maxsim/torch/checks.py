"""Validation of the torch entry points, and its error messages.

Shapes, dtypes and devices are known on the host and are checked before anything runs. Lengths, offsets and ids
are on the device: on the CPU they are checked first; on CUDA the kernel clamps and flags them, and these
functions then raise the error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import torch

if TYPE_CHECKING:
    from torch import Tensor

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int32, torch.int64)


def check_vectors(queries: Tensor, documents: Tensor, query_shape: str, document_shape: str) -> None:
    """Raise for token tensors of the wrong type, rank, dtype, device or dimension.

    Args:
        queries: query tokens, dimension last.
        documents: document tokens, dimension last.
        query_shape: the expected shape in words, such as ``(B, Lq, D)``; its commas give the rank.
        document_shape: the same for the documents.

    Raises:
        TypeError: not a tensor, not float32, float16 or bfloat16 (float64 too on the CPU), or two dtypes.
        ValueError: wrong rank, different dimensions, or dimension 0.
        RuntimeError: queries and documents are on different devices.
    """
    for name, tensor, shape in (("queries", queries, query_shape), ("documents", documents, document_shape)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name}: must be a torch.Tensor of shape {shape}, got {type(tensor).__name__}")
        allowed = (*_FLOATS, torch.float64) if tensor.device.type == "cpu" else _FLOATS
        if tensor.dtype not in allowed:
            raise TypeError(f"{name}: must be float32, float16 or bfloat16, got {tensor.dtype}; convert it first")
        if tensor.dim() != shape.count(",") + 1:
            raise ValueError(f"{name}: must have shape {shape}, got {tuple(tensor.shape)}")
        if tensor.shape[-1] == 0:
            raise ValueError(f"{name}: must have shape {shape} with D at least 1, got {tuple(tensor.shape)}")
    if documents.dtype != queries.dtype:
        raise TypeError(f"documents: must have the dtype of queries, {queries.dtype}, got {documents.dtype}")
    if documents.device != queries.device:
        raise RuntimeError(f"documents: must be on the device of queries, {queries.device}, got {documents.device}")
    if documents.shape[-1] != queries.shape[-1]:
        raise ValueError(
            f"documents: must have shape {document_shape} with D = {queries.shape[-1]} as in queries, "
            f"got {tuple(documents.shape)}"
        )


def check_index(name: str, index: Tensor, shape: tuple[int | str, ...], device: torch.device) -> None:
    """Raise for an index tensor of the wrong type, shape, dtype or device; a word in `shape` means any size.

    Raises:
        TypeError: not a tensor of int32 or int64.
        ValueError: wrong shape.
        RuntimeError: not on `device`.
    """
    if not isinstance(index, torch.Tensor):
        raise TypeError(f"{name}: must be an int32 or int64 torch.Tensor, got {type(index).__name__}")
    if index.dtype not in _INTEGERS:
        raise TypeError(f"{name}: must be int32 or int64, got {index.dtype}")
    if index.dim() != len(shape) or any(
        isinstance(expected, int) and expected != size for expected, size in zip(shape, index.shape, strict=True)
    ):
        expected_shape = ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name}: must have shape ({expected_shape}), got {tuple(index.shape)}")
    if index.device != device:
        raise RuntimeError(f"{name}: must be on the device of the vectors, {device}, got {index.device}")


def check_offsets_shape(name: str, offsets: Tensor, device: torch.device) -> None:
    """Raise for an offset tensor that is not a vector with at least one entry, as `check_index` does."""
    check_index(name, offsets, ("items + 1",), device)
    if offsets.shape[0] == 0:
        raise ValueError(f"{name}: must have shape (items + 1,), got (0,); pass [0] for no items")


def check_between(name: str, values: Tensor, low: int, high: int, what: str) -> None:
    """Raise ValueError unless every value lies in [low, high]; `what` names the values."""
    if values.numel() and not (low <= int(values.min()) and int(values.max()) <= high):
        raise ValueError(
            f"{name}: {what} must be between {low} and {high}, got {int(values.min())} to {int(values.max())}"
        )


def check_offsets(name: str, offsets: Tensor, rows: int) -> None:
    """Raise ValueError unless the offsets lie in [0, rows] and never decrease."""
    decreases = torch.nonzero(offsets[1:] < offsets[:-1])
    if decreases.numel():
        at = int(decreases[0])
        raise ValueError(
            f"{name}: offsets must not decrease, got {int(offsets[at])} then {int(offsets[at + 1])} at {at}"
        )
    check_between(name, offsets, 0, rows, "offsets")


def raise_nonfinite() -> NoReturn:
    """Raise the ValueError of the contract for non-finite input."""
    raise ValueError(
        "queries or documents: NaN, infinity, or values whose dot product overflows float32; "
        "clean them, or pass allow_nonfinite=True (NaN then never wins)"
    )
