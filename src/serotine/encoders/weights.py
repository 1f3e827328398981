"""Weights of a checkpoint: safetensors files only, no tensor missing or ignored."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from serotine.encoders.settings import SettingsFile
from serotine.errors import EncoderError, first_and_count, reason
from serotine.nesting import check_nesting
from serotine.wording import local_fix

WEIGHTS_FILE = "model.safetensors"
_SHARDS_FILE = "model.safetensors.index.json"
# Formats that can run code when they are read.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5")
_MAX_HEADER_BYTES = 100 << 20
_STANFORD = "HF_ColBERT"
# Tensors of pre-training heads, which token states do not need: may be missing or present.
_HEAD_PREFIXES = (
    "pooler.",
    "cls.",
    "lm_head.",
    "decoder.",
    "head.",
    "classifier.",
    "vocab_transform.",
    "vocab_layer_norm.",
)
_HEAD_SUFFIXES = ("position_ids", "vocab_projector.weight", "vocab_projector.bias")


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder's model: one, or the shards its index names.

    Raises:
        EncoderError: there is none; the message says how to convert a pickle.
    """
    single, shards = folder / WEIGHTS_FILE, folder / _SHARDS_FILE
    if single.is_file():
        return [single]
    if shards.is_file():
        names = SettingsFile(shards).section("weight_map").values.values()
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise EncoderError(f"{shards}: 'weight_map' must name files beside it")
        files = [folder / name for name in sorted(set(names))]
        for file in files:
            if not file.is_file():
                raise EncoderError(f"{file}: is missing; the checkpoint is incomplete")
        return files
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        fix = local_fix(
            "if you trust it, convert it: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
        )
        raise EncoderError(f"{folder / pickles[0]}: pickles can run code and are not read; {fix}")
    raise EncoderError(f"{single}: is missing; the checkpoint is incomplete")


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of a safetensors file.

    Raises:
        EncoderError: the file is damaged or of another format.
    """
    return {name: shape for name, (shape, _) in tensor_locations(file).items()}


def stanford_tensors(architectures: object) -> set[str]:
    """Return the tensors besides the backbone's in its files: Stanford checkpoints store the projection there.

    They do even where PyLate's modules are beside it.
    """
    return {"linear.weight"} if isinstance(architectures, list) and _STANFORD in architectures else set()


def without_heads(names: Iterable[str]) -> list[str]:
    """Return the sorted names of tensors that are not of a pre-training head."""
    result = []
    for name in sorted(names):
        bare = name
        for prefix in ("bert.", "roberta.", "model.", "distilbert.", "electra."):
            bare = bare.removeprefix(prefix)
        if not bare.startswith(_HEAD_PREFIXES) and not bare.endswith(_HEAD_SUFFIXES):
            result.append(name)
    return result


def tensor_locations(file: Path) -> dict[str, tuple[tuple[int, ...], int]]:
    """Return the shape of every tensor, and the byte at which it starts in the file.

    Raises:
        EncoderError: the file is damaged or of another format.
    """
    try:
        # Parsed here because the library maps the whole file first.
        with file.open("rb") as opened:
            (size,) = struct.unpack("<Q", opened.read(8))
            if size > _MAX_HEADER_BYTES:
                raise ValueError("header too long")
            text = opened.read(size).decode("utf-8")
        check_nesting(text)
        return {
            name: (tuple(map(int, entry["shape"])), 8 + size + int(entry["data_offsets"][0]))
            for name, entry in json.loads(text).items()
            if name != "__metadata__"
        }
    except (OSError, struct.error, ValueError, TypeError, LookupError, AttributeError) as error:
        raise EncoderError(f"{file}: not a complete safetensors file ({reason(error)})") from None


def read_tensors(
    file: Path, expected: Mapping[str, tuple[int, ...]], *, others: bool = False
) -> dict[str, NDArray[np.float32]]:
    """Load tensors as float32.

    Args:
        file: a safetensors file.
        expected: name and shape of every tensor.
        others: whether the file may contain more tensors.

    Raises:
        EncoderError: a tensor is missing, unexpected or of the wrong shape; the message names it.
    """
    tensors = tensor_locations(file)
    for name, shape in expected.items():
        if name not in tensors:
            raise EncoderError(f"{file}: tensor {name!r} is missing; it must be {dimensions(shape)}")
        if tensors[name][0] != tuple(shape):
            raise EncoderError(
                f"{file}: tensor {name!r} must be {dimensions(shape)}, got {dimensions(tensors[name][0])}"
            )
    unexpected = sorted(tensors.keys() - expected.keys())
    if unexpected and not others:
        raise EncoderError(
            f"{file}: tensor {first_and_count(unexpected)} is unexpected; ignoring it would change the vectors"
        )
    try:
        with safe_open(file, framework="numpy") as opened:
            return {
                name: _bfloat16(file, tensors[name][1], shape)
                if opened.get_slice(name).get_dtype() == "BF16"
                else np.asarray(opened.get_tensor(name), dtype=np.float32)
                for name, shape in expected.items()
            }
    # TypeError: a dtype that NumPy lacks, such as float8.
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise EncoderError(f"{file}: cannot be read ({reason(error)})") from None


def _bfloat16(file: Path, start: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Load bfloat16, which NumPy lacks: the upper halves of float32."""
    halves = np.fromfile(file, dtype="<u2", count=math.prod(shape), offset=start).reshape(shape)
    return (halves.astype(np.uint32) << 16).view(np.float32)


def dimensions(shape: tuple[int, ...]) -> str:
    """Return a shape for messages, as "384x1536"."""
    return "x".join(map(str, shape)) or "a scalar"
