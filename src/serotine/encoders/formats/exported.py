"""Serotine's exported folder: the model, `tokenizer.json`, and `serotine.json` with the rest of the spec.

The model is `model.safetensors`, which the native backend runs, or `model.onnx`.
A large tokenizer is compressed: `tokenizer.json.xz`.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from serotine.encoders.formats.folder import TOKENIZER_FILES
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import STORED_NAMES, EncoderSpec
from serotine.errors import EncoderError, shown, unknown_key
from serotine.texts import is_text
from serotine.wording import local_fix

SPEC_FILE = "serotine.json"
ONNX_FILE = "model.onnx"
NATIVE_FILE = "model.safetensors"
FORMAT = 2
# The reader sets paths and name, and derives the warning.
_NOT_STORED = {"name", "folder", "model", "tokenizer", "warning", "backbone_folder"}


def is_exported(folder: Path) -> bool:
    """Return whether a folder holds an exported encoder."""
    return (folder / SPEC_FILE).is_file()


def read(folder: Path, name: str) -> EncoderSpec:
    """Read an exported encoder.

    Raises:
        EncoderError: a file is missing, or a setting is missing, unknown or not valid.
    """
    settings = SettingsFile(folder / SPEC_FILE)
    if settings.values.get("format") != FORMAT:
        fix = local_fix("export the encoder again with `serotine model export`")
        raise EncoderError(f"{settings.path}: 'format' must be {FORMAT}; {fix}")
    models = [name for name in (NATIVE_FILE, ONNX_FILE) if (folder / name).is_file()]
    if len(models) != 1:
        found = "neither" if not models else "both"
        fix = local_fix(
            "export the encoder again with `serotine model export`, or, of a package installed from a clone, remove "
            "build/ beside its pyproject.toml and install it again"
        )
        raise EncoderError(
            f"{folder}: an exported encoder needs one of {NATIVE_FILE} and {ONNX_FILE}, got {found}; {fix}"
        )
    values = {key: value for key, value in settings.values.items() if key != "format"}
    derived = sorted(_NOT_STORED & values.keys())
    if derived:
        raise EncoderError(f"{settings.path}: {derived[0]!r} must not be set in this file; remove it")
    tokenizer = next((option for option in TOKENIZER_FILES if (folder / option).is_file()), TOKENIZER_FILES[0])
    values |= {"name": name, "folder": folder, "model": models[0], "tokenizer": tokenizer}
    return _build(EncoderSpec, values, settings.path, "")  # type: ignore[no-any-return]


def write(folder: Path, spec: EncoderSpec) -> None:
    """Write `serotine.json`."""
    values = {key: value for key, value in spec.stored().items() if key not in _NOT_STORED}
    text = json.dumps({"format": FORMAT, **values}, indent=1, ensure_ascii=False)
    (folder / SPEC_FILE).write_text(text + "\n", "utf-8")


def _build(kind: Any, values: object, path: Path, where: str) -> Any:
    """Return a dataclass built from plain values, each checked against the type of its field."""
    if not isinstance(values, dict):
        raise EncoderError(f"{path}: {where or 'the file'} must be an object")
    hints = typing.get_type_hints(kind)
    stored = {STORED_NAMES.get(name, name): name for name in hints}
    for key in sorted(values.keys() - stored.keys()):
        raise EncoderError(f"{path}: {unknown_key(f'{where}{key}', sorted(stored))}")
    checked = {stored[key]: _value(hints[stored[key]], value, path, f"{where}{key}") for key, value in values.items()}
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in checked:
            raise EncoderError(f"{path}: '{where}{field.name}' is missing")
    return kind(**checked)


def _value(hint: Any, value: Any, path: Path, where: str) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    if value is None and type(None) in options:
        return None
    for option in options:
        if typing.get_origin(option) is tuple and isinstance(value, (list, tuple)):
            return tuple(
                _value(typing.get_args(option)[0], item, path, f"{where}[{i}]") for i, item in enumerate(value)
            )
        if dataclasses.is_dataclass(option):
            return _build(option, value, path, f"{where}.")
        if option is float and type(value) in (int, float):
            return float(value)
        if isinstance(option, type) and (type(value) is option or (option is Path and isinstance(value, Path))):
            if (isinstance(value, int) and value < 0) or (isinstance(value, str) and not is_text(value)):
                break
            return value
    expected = " or ".join(
        "null" if option is type(None) else getattr(option, "__name__", str(option)) for option in options
    )
    raise EncoderError(f"{path}: {where!r} must be {expected}, got {shown(value)}")
