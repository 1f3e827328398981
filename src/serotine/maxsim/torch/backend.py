"""The backend of a tensor, in one place so that a test can send CPU tensors through the CUDA path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def of(tensor: Tensor) -> str:
    """Return the type of the tensor's device: ``cpu``, ``cuda``, ``mps``, or one without kernels."""
    return str(tensor.device.type)
