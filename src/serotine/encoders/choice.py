"""The choice of a backend: what an encoder runs on, and why."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serotine import maxsim
from serotine.encoders.fingerprint import NATIVE_ARITHMETIC, half_dtype
from serotine.encoders.native import NATIVE_SUFFIX, reason_not_covered
from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError
from serotine.wording import local_fix, worded

if TYPE_CHECKING:
    from serotine.encoders.encoder import Encoder

BackendName = Literal["native", "onnx", "torch"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend.

    Attributes:
        backend: its name.
        reason: why it was chosen, for a person.
    """

    backend: BackendName
    reason: str


def choose(spec: EncoderSpec, backend: BackendName | None, device: str | None, dtype: str | None) -> Choice:
    """Return the backend of an encoder.

    An export runs on the backend it was written for. A checkpoint runs natively where the core covers it, and in torch
    where it does not, where a GPU or a dtype is given, and where torch has a GPU, which is faster.

    Args:
        spec: the encoder.
        backend: as in `Encoder`.
        device: as in `Encoder`.
        dtype: as in `Encoder`.

    Raises:
        EncoderError: the export runs on another backend than the one asked for.
    """
    if spec.model is not None:
        exported: BackendName = "native" if spec.model.endswith(NATIVE_SUFFIX) else "onnx"
        if backend not in (None, exported) or device not in (None, "cpu"):
            only = worded(f"backend={exported!r}", http=f"the backend {exported!r}")
            convert = local_fix("convert it: serotine model export FOLDER NEW_FOLDER --native")
            fix = f"; {convert}" if backend == "native" else ""
            raise EncoderError(f"{spec.folder}: an exported encoder runs on the CPU with {only} only{fix}")
        return Choice(exported, f"the folder holds {spec.model}")
    if backend is not None:
        return Choice(backend, worded(f"backend={backend!r} was given", http=f"the backend {backend!r} was given"))
    if device not in (None, "cpu") or dtype is not None:
        given = f"dtype={dtype!r}" if device in (None, "cpu") else f"device={device!r}"
        return Choice("torch", f"{given} was given")
    uncovered = reason_not_covered(spec)
    if uncovered is not None:
        return Choice("torch", uncovered)
    if device is None and _may_have_gpu() and find_spec("torch") is not None:
        from serotine.encoders.torch import best_device

        best = best_device()
        if best != "cpu":
            return Choice("torch", f"torch has {best}, which is faster")
    return Choice("native", f"the native backend covers {spec.backbone}")


def recorded_arithmetic(encoder: Encoder, fingerprint: str | None) -> dict[str, Any]:
    """Return the arguments with which an encoder has the arithmetic that made an index.

    Empty if it has it already, or if no other can run.
    """
    if fingerprint is None or fingerprint == encoder.fingerprint:
        return {}
    if encoder.spec.model is not None or encoder.backend_choice is None:
        return {}
    if fingerprint.endswith(NATIVE_ARITHMETIC):
        return {} if encoder.backend_choice.backend == "native" else {"backend": "native"}
    return {"backend": "torch", "dtype": half_dtype(fingerprint) or "float32"}


def best_dtype(device: str) -> str:
    """Return the dtype of torch unless one is given: bfloat16 on a CPU with AVX512-BF16, else float32.

    There, documents take about 0.6 of the time; mean cosine with float32 is 0.9999 for a MiniLM.
    """
    fast = device == "cpu" and "avx512_bf16" in maxsim.capabilities().supported
    return "bfloat16" if fast else "float32"


def _may_have_gpu() -> bool:
    """Return whether importing torch, which takes seconds, could find a GPU."""
    return sys.platform == "darwin" or any(map(Path.exists, map(Path, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))))
