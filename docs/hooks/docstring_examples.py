"""Griffe extension: examples at the end of a docstring, which need no heading in the source, get one for the site."""

from __future__ import annotations

from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Puts the `>>>` lines of docstrings under "Examples:", which mkdocstrings renders as code."""

    def on_object(self, *, obj: griffe.Object, **_kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = with_heading(obj.docstring.value)


def with_heading(docstring: str) -> str:
    """Return a docstring with its trailing example indented under a heading."""
    lines = docstring.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(">>>")), None)
    if first is None:
        return docstring
    return "\n".join([*lines[:first], "Examples:", *(f"    {line}".rstrip() for line in lines[first:])])
