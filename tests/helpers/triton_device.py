"""The CUDA path in tests: on the GPU where there is one, else on CPU tensors in Triton's interpreter."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    # Triton reads this at import, so every test must import this module before triton.
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set; set it in the environment")
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="triton is not installed")

from serotine.maxsim.torch import backend  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = "cuda" if ON_GPU else "cpu"


def _widen_bfloat16(create_dot: Any) -> Any:
    """Convert bfloat16 to float32: the interpreter stores bfloat16 as uint16 and would multiply the integers."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    def widen(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    return lambda self, a, b, *rest: create_dot(self, widen(a), widen(b), *rest)


@contextmanager
def cuda_path() -> Iterator[None]:
    """Send every scoring call to the Triton kernels."""
    if ON_GPU:
        yield
        return
    from triton.runtime.interpreter import InterpreterBuilder

    with (
        np.errstate(invalid="ignore", over="ignore"),  # a GPU multiplies infinities without a warning
        mock.patch.object(backend, "of", return_value="cuda"),
        mock.patch.object(InterpreterBuilder, "create_dot", _widen_bfloat16(InterpreterBuilder.create_dot)),
    ):
        yield
