"""The library's results as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi.responses import Response

from serotine.errors import SerotineWarning
from serotine.index import Explanation, Hit, Hits, SeveralHits
from serotine.serving.server_paths import ServerPaths
from serotine.wire import finite


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """Return a body as a response; not through its pydantic model, which would take longer than a search."""
    return Response(
        json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(),
        status,
        media_type="application/json",
    )


def warning_list(warnings: Sequence[SerotineWarning], paths: ServerPaths) -> list[dict[str, str]]:
    """Return warnings as every response has them: the name of the class, and the message."""
    return [paths.hidden(warning.to_dict()) for warning in warnings]


def search_result(
    hits: Hits, explanations: Sequence[Explanation | None], total: float, paths: ServerPaths
) -> dict[str, Any]:
    """Return the hits of one query; `total` in milliseconds."""
    return {
        "hits": [_hit(hit, explained) for hit, explained in zip(hits, explanations, strict=True)],
        **_searched(hits),
        "warnings": warning_list(hits.warnings, paths),
        "milliseconds": _milliseconds([hits], total),
    }


def several_result(
    names: Sequence[str],
    answer: SeveralHits,
    explanations: Sequence[Explanation | None],
    total: float,
    paths: ServerPaths,
) -> dict[str, Any]:
    """Return the hits of several indexes, each with the name of its own; `total` in milliseconds."""
    return {
        "hits": [
            {
                "index": names[merged.result],
                **_hit(answer.results[merged.result][merged.position], explained),
                "score": finite(merged.score),
            }
            for merged, explained in zip(answer.merged, explanations, strict=True)
        ],
        "indexes": [{"index": name, **_searched(hits)} for name, hits in zip(names, answer.results, strict=True)],
        "warnings": warning_list(answer.warnings, paths),
        "milliseconds": _milliseconds(answer.results, total),
    }


def _hit(hit: Hit, explained: Explanation | None) -> dict[str, Any]:
    return {**hit.to_dict(), "explanation": explained and explanation(explained)}


def _searched(hits: Hits) -> dict[str, Any]:
    # Without the hits, which cost more than all the rest.
    body = hits[:0].to_dict()
    return {key: body[key] for key in ("stats", "certificate", "partial")}


def _milliseconds(results: Sequence[Hits], total: float) -> dict[str, float]:
    spent = {stage: sum(hits.stats.milliseconds.get(stage, 0.0) for hits in results) for stage in ("encode", "search")}
    return {**spent, "total": total}


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
