"""How deep JSON may nest, found before it is parsed."""

from __future__ import annotations

import re

DEEPEST = 200
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def check_nesting(text: str) -> None:
    """Refuses JSON that nests deeper than `DEEPEST`.

    Python's parser goes as deep as the stack allows and then raises RecursionError. Whatever the garbage collector
    happens to finalise down there fails too, and its complaints land on standard error, so we never go there.

    Raises:
        ValueError: it does.
    """
    # Two counts tell nearly every text apart without looking at its strings.
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"is nested more than {DEEPEST} deep")
