"""What the library found, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fastapi.responses import Response

from serotine.index import Explanation, Hit, Hits
from serotine.wire import finite


def as_json(body: dict[str, Any], status: int = 200) -> Response:
    """A body as an answer; written here, because checking it against its model would take longer than a search."""
    return Response(
        json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(),
        status,
        media_type="application/json",
    )


def search_answer(hits: Hits, explanations: list[Explanation | None], total: float) -> dict[str, Any]:
    """One question's hits; `total` in milliseconds."""
    times = hits.stats.milliseconds
    certificate = None
    if hits.certificate is not None:
        certificate = asdict(hits.certificate)
        certificate.update(
            kth_score=finite(hits.certificate.kth_score),
            bound=finite(hits.certificate.bound),
        )
    return {
        "hits": [
            {**_document(hit), "score": finite(hit.score), "explanation": explained and explanation(explained)}
            for hit, explained in zip(hits, explanations, strict=True)
        ],
        "stats": asdict(hits.stats),
        "certificate": certificate,
        "milliseconds": {"encode": times.get("encode", 0.0), "search": times.get("search", 0.0), "total": total},
    }


def explanation(found: Explanation) -> dict[str, Any]:
    """An explanation with its spans."""
    body = asdict(found)
    body["score"] = finite(found.score)
    for match in body["matches"]:
        match["similarity"] = finite(match["similarity"])
    body["spans"] = found.spans()
    return body


def document(hit: Hit) -> dict[str, Any]:
    """A document as it is stored, without its vectors."""
    return {**_document(hit), "vectors": None, "dim": None}


def _document(hit: Hit) -> dict[str, Any]:
    return {"id": hit.id, "text": hit.text, "metadata": hit.metadata}
