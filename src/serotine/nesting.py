"""How deep JSON nests, and how many values it has, before it is parsed."""

from __future__ import annotations

import re

MAX_DEPTH = 200
# Possessive, and unterminated too: every character is read once.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_SEPARATOR = re.compile(r"[,\[{]")
_BRACKET = re.compile(r"[\[\]{}]")


def check_nesting(text: str) -> None:
    """Raise ValueError for JSON that nests more than `MAX_DEPTH` levels deep.

    Python's parser recurses until the stack is full and then raises RecursionError; finalizers that the garbage
    collector runs at that depth fail too, and print to standard error.
    """
    # Two counts decide for nearly every text without parsing its strings.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def count_values(text: str, enough: int) -> int:
    """Return about how many values a JSON text has; exact only where there are more than `enough`."""
    # Commas in strings count too at first, which is quick.
    most = text.count(",") + text.count("[") + text.count("{")
    return most if most <= enough else sum(1 for _ in _SEPARATOR.finditer(_STRING.sub("", text)))
