"""JSON files of a checkpoint: every value is validated before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serotine.errors import EncoderError, reason, shown
from serotine.nesting import check_nesting
from serotine.texts import is_text

# The tokenizer, a checkpoint's largest JSON file, is not read as settings.
_MAX_BYTES = 16 << 20
# Keys that could make transformers download or run code, or change what it computes or returns.
DROPPED_KEYS = (
    "auto_map",
    "attn_implementation",
    "dtype",
    "torch_dtype",
    "trust_remote_code",
    "custom_pipelines",
    "return_dict",
    "use_return_dict",
    "torchscript",
    "output_hidden_states",
    "output_attentions",
    "chunk_size_feed_forward",
    "num_labels",
    "id2label",
    "label2id",
)


class SettingsFile:
    """A JSON object whose values are read by type.

    Args:
        path: the file.
        missing_ok: an absent file reads as an empty object.

    Raises:
        EncoderError: the file is missing, too large, or not a JSON object.
    """

    def __init__(self, path: Path, *, missing_ok: bool = False) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        if missing_ok and not path.is_file():
            return
        values = read_json(path)
        if not isinstance(values, dict):
            raise EncoderError(f"{path}: must be a JSON object, got {type(values).__name__}")
        self.values = values

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return a string; the default if it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not is_text(value):
            raise self.invalid(key, "a string")
        return value

    def integer(self, key: str, default: int | None = None, *, minimum: int = 1) -> int | None:
        """Return an integer; the default if it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.invalid(key, f"an integer of at least {minimum}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean; the default if it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.invalid(key, "true or false")
        return value

    def strings(self, key: str) -> list[str] | None:
        """Return a list of strings; None if it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) and is_text(item) for item in value):
            raise self.invalid(key, "a list of strings")
        return list(value)

    def section(self, key: str) -> SettingsFile:
        """Return a nested object; an empty one if it is absent or null."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.invalid(key, "an object")
        section = SettingsFile.__new__(SettingsFile)
        section.path, section.values = self.path, value or {}
        return section

    def invalid(self, key: str, expected: str) -> EncoderError:
        """Return the error for a value that is not valid."""
        return EncoderError(f"{self.path}: {key!r} must be {expected}, got {shown(self.values.get(key))}")


def read_json(path: Path) -> Any:
    """Return the parsed content of a JSON file.

    Raises:
        EncoderError: the file is missing, too large or not JSON.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: is missing; the checkpoint is incomplete")
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise EncoderError(f"{path}: must be at most {_MAX_BYTES:,} bytes, got {size:,}; the checkpoint is damaged")
    try:
        text = path.read_bytes().decode("utf-8")
        check_nesting(text)
        return json.loads(text)
    except ValueError as error:
        raise EncoderError(f"{path}: is not valid JSON ({reason(error)})") from None
