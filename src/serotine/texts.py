"""What counts as text, checked alike wherever text comes in."""

from __future__ import annotations

import unicodedata


def is_text(value: str) -> bool:
    """Whether UTF-8 can write `value`: a Python string may hold lone surrogates, which nothing could store."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def strings(values: object, name: str) -> list[str]:
    """`values` as a list of strings, or a TypeError that says which one is not."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name}: want a list of strings, got one {type(values).__name__}; put it in a list")
    if not hasattr(values, "__iter__"):
        raise TypeError(f"{name}: want a list of strings, got {type(values).__name__}")
    listed = list(values)
    for i, value in enumerate(listed):
        if not isinstance(value, str):
            raise TypeError(f"{name}[{i}]: want a string, got {type(value).__name__}")
        if not is_text(value):
            raise ValueError(f"{name}[{i}]: holds a lone surrogate, which is no text; decode its source as UTF-8")
    return listed


def printable(text: str) -> str:
    """Return `text` with every control character and line break as a space: the same length, safe on a terminal."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character for character in text)
