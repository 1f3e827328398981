"""The loading of a model on the backend chosen for it."""

from __future__ import annotations

import shlex
from pathlib import Path

from serotine.encoders import choice
from serotine.encoders.backend import Backend
from serotine.encoders.choice import BackendName, Choice
from serotine.encoders.fingerprint import model_digest
from serotine.encoders.native import NativeBackend, read_checkpoint_weights, read_weights
from serotine.encoders.onnx import OnnxBackend
from serotine.encoders.spec import EXPORT_OUTPUT, EncoderSpec
from serotine.encoders.weights import weight_files
from serotine.errors import EncoderError, missing_extra
from serotine.wording import local_fix, worded


def load_backend(
    spec: EncoderSpec,
    vocabulary: int,
    backend: BackendName | None,
    device: str | None,
    dtype: str | None,
    threads: int | None,
) -> tuple[Backend, Choice]:
    """Load the model of an encoder.

    Args:
        spec: the encoder.
        vocabulary: number of its tokenizer's token ids.
        backend: as in `Encoder`.
        device: as in `Encoder`.
        dtype: as in `Encoder`.
        threads: as `num_threads` in `Encoder`.

    Returns:
        The model, and why it runs where it does.

    Raises:
        EncoderError: a file is missing or damaged, or the backend cannot run it.
    """
    if spec.model is None:
        weight_files(spec.backbone_path)
    if backend == "onnx" and spec.model is None:
        fix = local_fix(f"write one: serotine model export {shlex.quote(spec.name)} FOLDER")
        raise EncoderError(f"{spec.folder}: no ONNX model; {fix}")
    if backend == "native" and device not in (None, "cpu"):
        native = worded("backend='native'", http="the native backend")
        raise EncoderError(f"device {device!r}: {native} runs on the CPU; leave device out")
    chosen = choice.choose(spec, backend, device, dtype)
    if spec.model_file is not None:
        return _load_export(spec, spec.model_file, chosen.backend, threads), chosen
    if chosen.backend == "native":
        return NativeBackend(spec.name, read_checkpoint_weights(spec, vocabulary), threads), chosen
    return _load_torch(spec, vocabulary, device, dtype, threads), chosen


def _load_export(spec: EncoderSpec, model: Path, backend: BackendName, threads: int | None) -> Backend:
    if spec.model_sha256 is not None and (digest := model_digest(model)) != spec.model_sha256:
        raise EncoderError(
            f"{model}: SHA-256 must be {spec.model_sha256} (serotine.json), got {digest}; install the model again"
        )
    if backend == "native":
        if spec.output != EXPORT_OUTPUT:
            raise EncoderError(f"{model}: 'output' must be one of {EXPORT_OUTPUT!r}, got {spec.output!r}")
        return NativeBackend(spec.name, read_weights(model), threads)
    return OnnxBackend(model, spec.output, threads)


def _load_torch(
    spec: EncoderSpec, vocabulary: int, device: str | None, dtype: str | None, threads: int | None
) -> Backend:
    try:
        from serotine.encoders.torch import TorchBackend, best_device
    except ImportError as error:
        others = worded(
            ", use backend='native' (8 bits, where it covers the model), or export it where torch is installed: "
            f"serotine model export {shlex.quote(spec.name)} FOLDER",
            http="",
        )
        needed = missing_extra(f"{spec.name}: a checkpoint of weights", "torch")
        raise EncoderError(f"{needed}{others} ({error})") from None
    device = best_device() if device is None else device
    dtype = choice.best_dtype(device) if dtype is None else dtype
    return TorchBackend(spec, vocabulary, device, dtype, threads)
