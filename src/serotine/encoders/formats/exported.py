"""Serotine's own folder: `model.onnx`, `tokenizer.json`, and `serotine.json` with everything else."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError
from serotine.texts import is_text

SPEC_FILE = "serotine.json"
MODEL_FILE = "model.onnx"
FORMAT = 2
# Where the files lie is the reader's business, and what is said of it follows from the rest.
_NOT_STORED = {"name", "folder", "model", "tokenizer", "warning", "backbone_folder"}


def read(folder: Path, name: str) -> EncoderSpec:
    """Reads one.

    Raises:
        EncoderError: a file is missing, or a setting is missing, unknown or not what it should be.
    """
    settings = SettingsFile(folder / SPEC_FILE)
    if settings.values.get("format") != FORMAT:
        raise EncoderError(
            f"{settings.path}: 'format' must be {FORMAT}; export the encoder again with `serotine model export`"
        )
    file = folder / MODEL_FILE
    if not file.is_file():
        raise EncoderError(f"{file}: is missing; an exported encoder needs {MODEL_FILE} and tokenizer.json")
    values = {key: value for key, value in settings.values.items() if key != "format"}
    placed = sorted(_NOT_STORED & values.keys())
    if placed:
        raise EncoderError(f"{settings.path}: {placed[0]!r} is not for this file to say; take it out")
    values |= {"name": name, "folder": folder, "model": MODEL_FILE}
    return _build(EncoderSpec, values, settings.path, "")  # type: ignore[no-any-return]


def write(folder: Path, spec: EncoderSpec) -> None:
    """Writes `serotine.json`."""
    values = {key: value for key, value in dataclasses.asdict(spec).items() if key not in _NOT_STORED}
    (folder / SPEC_FILE).write_text(
        json.dumps({"format": FORMAT, **values}, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )


def _build(kind: Any, values: object, path: Path, where: str) -> Any:
    """A dataclass out of plain values, each of the type its field declares."""
    if not isinstance(values, dict):
        raise EncoderError(f"{path}: {where or 'the file'} must be an object")
    hints = typing.get_type_hints(kind)
    unknown = sorted(values.keys() - hints.keys())
    if unknown:
        raise EncoderError(f"{path}: {where}{unknown[0]!r} is not a setting; known are {', '.join(sorted(hints))}")
    found = {key: _value(hints[key], value, path, f"{where}{key}") for key, value in values.items()}
    for one in dataclasses.fields(kind):
        if one.name not in found and one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise EncoderError(f"{path}: '{where}{one.name}' is missing")
    return kind(**found)


def _value(hint: Any, value: Any, path: Path, where: str) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if typing.get_origin(option) is tuple and isinstance(value, (list, tuple)):
            return tuple(_value(typing.get_args(option)[0], one, path, f"{where}[{i}]") for i, one in enumerate(value))
        if dataclasses.is_dataclass(option):
            return _build(option, value, path, f"{where}.")
        if option is float and type(value) in (int, float):
            return float(value)
        if isinstance(option, type) and (type(value) is option or (option is Path and isinstance(value, Path))):
            if (isinstance(value, int) and value < 0) or (isinstance(value, str) and not is_text(value)):
                break
            return value
    wanted = " or ".join(
        "null" if option is type(None) else getattr(option, "__name__", str(option)) for option in options
    )
    raise EncoderError(f"{path}: {where!r} must be {wanted}, got {str(value)[:60]!r}")
