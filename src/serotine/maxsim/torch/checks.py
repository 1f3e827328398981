# mypy: disable-error-code="import-not-found"
"""What the torch entry points accept, and the words they refuse with.

Shapes, dtypes and devices are known on the host and are checked before anything runs. Lengths, offsets and ids
live on the device: on the CPU they are checked first, on CUDA the kernel clamps them and reports, and these
same functions then find the words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int32, torch.int64)


def check_vectors(queries: Tensor, documents: Tensor, query_shape: str, document_shape: str) -> None:
    """Refuse token tensors of the wrong type, rank, dtype, device or dimension.

    Args:
        queries: query tokens, dimension last.
        documents: document tokens, dimension last.
        query_shape: the wanted shape in words, such as ``[B, Lq, D]``; its commas give the rank.
        document_shape: the same for the documents.

    Raises:
        TypeError: not a tensor, not fp32, fp16 or bf16 (float64 too on the CPU), or two different dtypes.
        ValueError: wrong rank, different dimensions, or no dimensions at all.
        RuntimeError: the two are on different devices.
    """
    for name, tensor, shape in (("queries", queries, query_shape), ("documents", documents, document_shape)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} must be a torch.Tensor of shape {shape}, got {type(tensor).__name__}")
        allowed = (*_FLOATS, torch.float64) if tensor.device.type == "cpu" else _FLOATS
        if tensor.dtype not in allowed:
            raise TypeError(f"{name} must be float32, float16 or bfloat16, got {tensor.dtype}")
        if tensor.dim() != shape.count(",") + 1:
            raise ValueError(f"{name} must have shape {shape}, got {list(tensor.shape)}")
    if queries.dtype != documents.dtype:
        raise TypeError(
            f"queries and documents must share a dtype, got {queries.dtype} and {documents.dtype}"
        )
    if queries.device != documents.device:
        raise RuntimeError(
            f"queries and documents must be on one device, got {queries.device} and {documents.device}"
        )
    if queries.shape[-1] != documents.shape[-1]:
        raise ValueError(
            f"queries {list(queries.shape)} and documents {list(documents.shape)} must share their last dimension"
        )
    if queries.shape[-1] == 0:
        raise ValueError(f"queries must have at least one dimension, got {list(queries.shape)}")


def check_index(name: str, index: Tensor, shape: tuple[int | None, ...], device: torch.device) -> None:
    """Refuse an index tensor of the wrong type, shape, dtype or device; None in `shape` means any size.

    Raises:
        TypeError: not a tensor of int32 or int64.
        ValueError: wrong shape.
        RuntimeError: not on `device`.
    """
    if not isinstance(index, torch.Tensor):
        raise TypeError(f"{name} must be an integer torch.Tensor, got {type(index).__name__}")
    if index.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be int32 or int64, got {index.dtype}")
    fits = index.dim() == len(shape) and all(
        want in (None, size) for want, size in zip(shape, index.shape, strict=True)
    )
    if not fits:
        wanted = ["any" if want is None else want for want in shape]
        raise ValueError(f"{name} must have shape {wanted}, got {list(index.shape)}".replace("'", ""))
    if index.device != device:
        raise RuntimeError(f"{name} must be on {device} like the vectors, got {index.device}")


def check_offsets_shape(name: str, offsets: Tensor, device: torch.device) -> None:
    """Refuse an offset tensor that is not a vector with at least one entry; raises like `check_index`."""
    check_index(name, offsets, (None,), device)
    if offsets.shape[0] == 0:
        raise ValueError(f"{name} must have shape [items + 1], got [0]")


def check_lengths(name: str, lengths: Tensor, limit: int) -> None:
    """Raise ValueError unless every length lies between 0 and `limit`."""
    if lengths.numel() and not (0 <= int(lengths.min()) and int(lengths.max()) <= limit):
        raise ValueError(
            f"{name} must lie between 0 and {limit}, got {int(lengths.min())} to {int(lengths.max())}"
        )


def check_offsets(name: str, offsets: Tensor, rows: int) -> None:
    """Raise ValueError unless the offsets start at 0, never fall and end at `rows`."""
    first, last = int(offsets[0]), int(offsets[-1])
    if first != 0 or last != rows:
        raise ValueError(f"{name} must run from 0 to the {rows} token rows, got {first} to {last}")
    if bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError(f"{name} must never fall")


def check_ids(name: str, ids: Tensor, count: int) -> None:
    """Raise ValueError unless every id lies in [0, count)."""
    if ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < count):
        raise ValueError(
            f"{name} must lie between 0 and {count - 1}, got {int(ids.min())} to {int(ids.max())}"
        )


def refuse_nonfinite() -> None:
    """Raise the ValueError of the contract for non-finite input."""
    raise ValueError(
        "queries or documents hold NaN or infinite values, or a dot product overflows float32; "
        "pass allow_nonfinite=True to score them anyway (a NaN dot product then never wins)"
    )
