"""The library's results as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from serotine.errors import SerotineWarning
from serotine.index import Explanation, Hit, Hits, SeveralHits
from serotine.serving.http.answer import Answer
from serotine.serving.server_paths import ServerPaths
from serotine.wire import finite


def warning_list(warnings: Sequence[SerotineWarning], paths: ServerPaths) -> list[dict[str, str]]:
    """Return warnings as every response has them: the name of the class, and the message."""
    return [paths.hidden(warning.to_dict()) for warning in warnings]


def search_result(
    hits: Hits, explanations: Iterable[Explanation | None], paths: ServerPaths, answer: Answer
) -> dict[str, Any]:
    """Return the hits of one query, as JSON already, and what else is said of it; without the total time."""
    return {
        "hits": answer.parts(_hit(hit, explained) for hit, explained in zip(hits, explanations, strict=True)),
        **{key: answer.part(value) for key, value in _searched(hits).items()},
        "warnings": answer.part(warning_list(hits.warnings, paths)),
        "milliseconds": _milliseconds([hits]),
    }


def with_total(result: dict[str, Any], total: float) -> dict[str, Any]:
    """Return a result with the time that the request took, in milliseconds."""
    return {**result, "milliseconds": {**result["milliseconds"], "total": total}}


def several_result(
    names: Sequence[str],
    found: SeveralHits,
    explanations: Iterable[Explanation | None],
    paths: ServerPaths,
    answer: Answer,
) -> dict[str, Any]:
    """Return the hits of several indexes, each with the name of its own; see `search_result`."""
    return {
        "hits": answer.parts(
            {
                "index": names[merged.result],
                **_hit(found.results[merged.result][merged.position], explained),
                "score": finite(merged.score),
            }
            for merged, explained in zip(found.merged, explanations, strict=True)
        ),
        "indexes": answer.parts(
            {"index": name, **_searched(hits)} for name, hits in zip(names, found.results, strict=True)
        ),
        "warnings": answer.part(warning_list(found.warnings, paths)),
        "milliseconds": _milliseconds(found.results),
    }


def _hit(hit: Hit, explained: Explanation | None) -> dict[str, Any]:
    return {**hit.to_dict(), "explanation": explained and explanation(explained)}


def _searched(hits: Hits) -> dict[str, Any]:
    # Without the hits, which cost more than all the rest.
    body = hits[:0].to_dict()
    return {key: body[key] for key in ("stats", "certificate", "partial")}


def _milliseconds(results: Sequence[Hits]) -> dict[str, float]:
    return {stage: sum(hits.stats.milliseconds.get(stage, 0.0) for hits in results) for stage in ("encode", "search")}


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
