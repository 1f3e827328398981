"""As much of a document's metadata as an answer has room for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serotine.serving.mcp.counting import as_json, count_tokens


def within(metadata: Mapping[str, Any], most: int) -> tuple[dict[str, Any], list[str]]:
    """The fields, in their order, that fit into `most` tokens together, and the names of the others."""
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in metadata.items():
        spent = count_tokens(as_json({name: value}))
        if spent <= most:
            kept[name] = value
            most -= spent
        elif len(name) <= most:
            left_out.append(name)
            most -= count_tokens(as_json(name))
    return kept, left_out
