"""Dispatch by kind of input: NumPy arrays to the function itself, torch tensors to `serotine.maxsim.torch`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_SCALES = ("query_scales", "document_scales")


def is_torch(value: object) -> bool:
    """Return whether `value` is a torch tensor, or a list of them, without importing torch."""
    if isinstance(value, (list, tuple)):
        return bool(value) and is_torch(value[0])
    return type(value).__module__.partition(".")[0] == "torch"


def also_torch(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that torch tensors go to the function of the same name in `serotine.maxsim.torch`.

    int8 tensors with scales run through `function` itself, over the same memory: they need no gradient, and only
    the CPU has kernels for them.
    """

    @functools.wraps(function)
    def dispatched(*args: P.args, **kwargs: P.kwargs) -> R:
        if not any(map(is_torch, args)) and not any(map(is_torch, kwargs.values())):
            return function(*args, **kwargs)
        from serotine.maxsim import torch

        options: dict[str, Any] = dict(kwargs)
        if any(options.get(name) is not None for name in _SCALES):
            return cast("R", torch.through_numpy(function, *args, **kwargs))
        for name in _SCALES:
            options.pop(name, None)
        return cast("R", getattr(torch, function.__name__)(*args, **options))

    return dispatched
