"""The choice of a backend: what an encoder runs on, and why."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from serotine.encoders.fingerprint import NATIVE_ARITHMETIC
from serotine.encoders.native import NATIVE_SUFFIX, reason_not_covered
from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError

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


def choose(spec: EncoderSpec, backend: BackendName | None, device: str | None, dtype: str) -> Choice:
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
            convert = "" if backend != "native" else "; convert it: serotine model export FOLDER NEW_FOLDER --native"
            raise EncoderError(
                f"{spec.folder}: an exported encoder runs on the CPU with backend={exported!r} only{convert}"
            )
        return Choice(exported, f"the folder holds {spec.model}")
    if backend is not None:
        return Choice(backend, f"backend={backend!r} was given")
    if device not in (None, "cpu") or dtype != "float32":
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


def recorded_backend(encoder: Encoder, fingerprint: str | None) -> BackendName | None:
    """Return the backend whose arithmetic made an index; None if the encoder's own fits, or if no other can run."""
    if fingerprint in (None, encoder.fingerprint) or encoder.spec.model is not None:
        return None
    backend: BackendName = "native" if (fingerprint or "").endswith(NATIVE_ARITHMETIC) else "torch"
    choice = encoder.backend_choice
    return None if choice is None or choice.backend == backend else backend


def _may_have_gpu() -> bool:
    """Return whether importing torch, which takes seconds, could find a GPU."""
    return sys.platform == "darwin" or any(map(Path.exists, map(Path, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))))
