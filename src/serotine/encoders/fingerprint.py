"""Hashes of the files that decide an encoder's vectors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from serotine.encoders.settings import DROPPED_KEYS, SettingsFile
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.weights import weight_files
from serotine.files import sha256

NATIVE_ARITHMETIC = "-int8"
"""What a fingerprint of the native backend ends with."""
HALF_DTYPES = ("bfloat16", "float16")
"""Those dtypes of torch that a fingerprint ends with, after a hyphen."""
MIN_AGREEMENT = 0.99
"""Mean cosine per token from which an index made with one arithmetic may be searched with another."""


def arithmetic(fingerprint: str) -> str:
    """Return what made the vectors of an index, as far as its fingerprint says.

    >>> from serotine.encoders import arithmetic
    >>> arithmetic("0123456789abcdef-int8"), arithmetic("0123456789abcdef-bfloat16"), arithmetic("0123456789abcdef")
    ('native, int8', 'torch, bfloat16', 'torch or ONNX')
    """
    if fingerprint.endswith(NATIVE_ARITHMETIC):
        return "native, int8"
    dtype = half_dtype(fingerprint)
    return "torch or ONNX" if dtype is None else f"torch, {dtype}"


def half_dtype(fingerprint: str) -> str | None:
    """Return the dtype of 16 bits that a fingerprint names, if it names one."""
    dtype = fingerprint.partition("-")[2]
    return dtype if dtype in HALF_DTYPES else None


def source_fingerprint(fingerprint: str) -> str:
    """Return the fingerprint of the same weights in float32."""
    return fingerprint.partition("-")[0]


def files_digest(spec: EncoderSpec) -> str:
    """Return one hash of all files that decide an encoder's vectors: model, tokenizer and configuration."""
    if spec.source is not None:
        return spec.source
    if spec.model_file is not None:
        return hashlib.sha256((model_digest(spec.model_file) + sha256(spec.tokenizer_file)).encode()).hexdigest()
    files = weight_files(spec.backbone_path)
    for layer in spec.projections:
        if layer.folder != spec.backbone_folder:
            files += weight_files(spec.folder / layer.folder)
    digests = [*map(sha256, [*files, spec.tokenizer_file]), _configuration_digest(spec)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def model_digest(model: Path) -> str:
    """Return the SHA-256 of an ONNX file, together with its external weights if it has any."""
    # Serotine writes model.onnx.data; other exporters write model.onnx_data.
    weights = sorted(file for file in model.parent.glob(f"{model.name}?data") if file.is_file())
    if not weights:
        return sha256(model)
    return hashlib.sha256("".join(map(sha256, [model, *weights])).encode()).hexdigest()


def _configuration_digest(spec: EncoderSpec) -> str:
    """Return a hash of how the backbone and its projections compute, apart from their weights."""
    stored = SettingsFile(spec.backbone_path / "config.json").values
    backbone = {
        key: value
        for key, value in stored.items()
        if key not in (*DROPPED_KEYS, "transformers_version", "architectures") and not key.startswith("_")
    }
    layers = [{**asdict(layer), "folder": None} for layer in spec.projections]
    return hashlib.sha256(json.dumps([backbone, layers], sort_keys=True).encode()).hexdigest()
