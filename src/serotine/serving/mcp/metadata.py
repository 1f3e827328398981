"""Document metadata within a token budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serotine.serving.mcp.token_count import as_json, count_tokens


def fit_metadata(metadata: Mapping[str, Any], budget: int) -> tuple[dict[str, Any], list[str]]:
    """Return the fields, in order, that fit into `budget` tokens together, and the names of the omitted ones."""
    shown: dict[str, Any] = {}
    omitted: list[str] = []
    for name, value in metadata.items():
        cost = count_tokens(as_json({name: value}))
        if cost <= budget:
            shown[name] = value
            budget -= cost
        elif len(name) <= budget:
            omitted.append(name)
            budget -= count_tokens(as_json(name))
    return shown, omitted
