"""CPU tensors as NumPy arrays, for the functions that only NumPy has: int8 with scales."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def through_numpy(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function of `serotine.maxsim` on the memory of CPU tensors; arrays in its result become tensors.

    Raises:
        RuntimeError: a tensor is not on the CPU.
        TypeError: a scaled tensor is not int8.
    """
    return _tensors(function(*map(_arrays, args), **{name: _arrays(value) for name, value in kwargs.items()}))


def _arrays(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_arrays(item) for item in value]
    if not isinstance(value, torch.Tensor):
        return value
    if value.device.type != "cpu":
        raise RuntimeError(f"int8 tokens with scales run on the CPU only, got a tensor on {value.device}; move it")
    if value.dtype == torch.bfloat16:
        raise TypeError("only int8 tokens have scales, got bfloat16")
    return value.detach().numpy()


def _tensors(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_tensors(item) for item in value)
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
