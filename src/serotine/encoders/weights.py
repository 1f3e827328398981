"""Weights of a checkpoint: safetensors files only, every tensor accounted for."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from serotine.encoders.settings import SettingsFile
from serotine.errors import EncoderError
from serotine.nesting import check_nesting

WEIGHTS_FILE = "model.safetensors"
_SHARDS_FILE = "model.safetensors.index.json"
# Formats that run code as they are read.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5")
_MOST_HEADER = 100 << 20


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder's model: one, or the shards its index names.

    Raises:
        EncoderError: there is none; with what to do where there is a pickle instead.
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
                raise EncoderError(f"{file}: is missing; the checkpoint is not whole")
        return files
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        raise EncoderError(
            f"{folder / pickles[0]}: is a pickle, which can run any code as it is read, and is not; convert it once, "
            "where you trust it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
        )
    raise EncoderError(f"{single}: is missing; the checkpoint is not whole")


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a safetensors file.

    Raises:
        EncoderError: it is none, or is damaged.
    """
    return {name: shape for name, (shape, _) in _header(file).items()}


def _header(file: Path) -> dict[str, tuple[tuple[int, ...], int]]:
    """Of every tensor: its shape, and where in the file its numbers begin."""
    try:
        # The header is read here rather than by the library, which maps the whole file first.
        with file.open("rb") as opened:
            (size,) = struct.unpack("<Q", opened.read(8))
            if size > _MOST_HEADER:
                raise ValueError("its header is too long")
            text = opened.read(size).decode("utf-8")
        check_nesting(text)
        return {
            name: (tuple(map(int, entry["shape"])), 8 + size + int(entry["data_offsets"][0]))
            for name, entry in json.loads(text).items()
            if name != "__metadata__"
        }
    except (OSError, struct.error, ValueError, TypeError, LookupError, AttributeError) as error:
        raise EncoderError(
            f"{file}: is not a whole safetensors file ({str(error).splitlines()[0] or error!r})"
        ) from None


def read_tensors(
    file: Path, wanted: Mapping[str, tuple[int, ...]], *, others: bool = False
) -> dict[str, NDArray[np.float32]]:
    """Tensors as float32, exactly those wanted.

    Args:
        file: a safetensors file.
        wanted: name and shape of each.
        others: whether the file may hold more.

    Raises:
        EncoderError: one is missing, misshapen or left over; the message names it.
    """
    found = _header(file)
    for name, shape in wanted.items():
        if name not in found:
            raise EncoderError(f"{file}: tensor {name!r} is missing; want it {_shown(shape)}")
        if found[name][0] != tuple(shape):
            raise EncoderError(f"{file}: tensor {name!r} is {_shown(found[name][0])}; want {_shown(shape)}")
    left = sorted(found.keys() - wanted.keys())
    if left and not others:
        raise EncoderError(
            f"{file}: tensor {left[0]!r} belongs to nothing in this encoder; it would be lost in silence"
        )
    try:
        with safe_open(file, framework="numpy") as opened:
            return {
                name: _bfloat16(file, found[name][1], shape)
                if opened.get_slice(name).get_dtype() == "BF16"
                else np.asarray(opened.get_tensor(name), dtype=np.float32)
                for name, shape in wanted.items()
            }
    # TypeError: a dtype NumPy has no name for, such as those of 8 bits.
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise EncoderError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None


def _bfloat16(file: Path, start: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Numbers that NumPy has no type for: the upper halves of float32."""
    halves = np.fromfile(file, dtype="<u2", count=math.prod(shape), offset=start).reshape(shape)
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
