"""Which kernels a tensor goes to. One place, so that a test can send CPU tensors through the CUDA path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def of(tensor: Tensor) -> str:
    """The type of the tensor's device: ``cpu``, ``cuda``, ``mps``, or one that has no kernels here."""
    return str(tensor.device.type)
