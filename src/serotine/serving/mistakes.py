"""The words of pydantic's validation errors, as the library has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serotine.errors import shown

_BOUNDS = {
    "ge": "at least",
    "gt": "above",
    "le": "at most",
    "lt": "below",
    "min_length": "at least",
    "max_length": "at most",
}
_LENGTHS = ("min_length", "max_length")
# Errors whose words name classes of Python.
_OBJECTS = ("dataclass_type", "dict_type", "mapping_type", "model_attributes_type", "model_type")


def mistake_message(field: str, mistake: Mapping[str, Any]) -> str:
    """Return the message about an invalid field: "k: must be at least 1, got 0".

    Args:
        field: its name; "" where the error names it.
        mistake: one of `pydantic.ValidationError.errors()`.
    """
    message = str(mistake["msg"])
    if mistake["type"] == "missing":
        return f"{field}: is required"
    if mistake["type"] in _OBJECTS:
        return f"{field}: must be an object, got {shown(mistake.get('input'))}"
    if mistake["type"] == "value_error":
        # Raised by the library, whose words are its own.
        words = message.removeprefix("Value error, ")
        return f"{field}: {words}" if field else words
    context = mistake.get("ctx") or {}
    bound = next((name for name in _BOUNDS if name in context), None)
    got = shown(mistake.get("input"))
    if bound in _LENGTHS:
        if bound == "min_length" and context[bound] == 1:
            return f"{field}: must not be empty"
        value = mistake.get("input")
        count = context.get("actual_length", len(value) if isinstance(value, str) else None)
        unit = "characters" if isinstance(value, str) else "items"
        got = got if count is None else f"{count:,}"
        return f"{field}: must have {_BOUNDS[bound]} {context[bound]:,} {unit}, got {got}"
    if bound is not None:
        return f"{field}: must be {_BOUNDS[bound]} {context[bound]:,}, got {got}"
    fault = f"{message[0].lower()}{message[1:]}".replace("input should be", "must be")
    return f"{field}: {fault}, got {got}"
