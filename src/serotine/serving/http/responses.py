"""The library's results as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi.responses import Response

from serotine.errors import SerotineWarning
from serotine.index import Explanation, Hit, Hits
from serotine.wire import finite


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """Return a body as a response; not through its pydantic model, which would take longer than a search."""
    return Response(
        json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(),
        status,
        media_type="application/json",
    )


def warning_list(warnings: Sequence[SerotineWarning]) -> list[dict[str, str]]:
    """Return warnings as every response has them: the name of the class, and the message."""
    return [warning.to_dict() for warning in warnings]


def search_result(hits: Hits, explanations: list[Explanation | None], total: float) -> dict[str, Any]:
    """Return the hits of one query; `total` in milliseconds."""
    times = hits.stats.milliseconds
    body = hits.to_dict()
    return {
        "hits": [
            {**hit, "explanation": explained and explanation(explained)}
            for hit, explained in zip(body["hits"], explanations, strict=True)
        ],
        "stats": body["stats"],
        "certificate": body["certificate"],
        "partial": body["partial"],
        "warnings": warning_list(hits.warnings),
        "milliseconds": {"encode": times.get("encode", 0.0), "search": times.get("search", 0.0), "total": total},
    }


def explanation(explained: Explanation) -> dict[str, Any]:
    """Return an explanation with its spans."""
    body = asdict(explained)
    body["score"] = finite(explained.score)
    for match in body["matches"]:
        match["similarity"] = finite(match["similarity"])
    body["spans"] = explained.spans()
    return body


def document(hit: Hit) -> dict[str, Any]:
    """Return a stored document without its vectors."""
    return {"id": hit.id, "text": hit.text, "metadata": hit.metadata, "vectors": None, "dim": None}
