"""The JSON of a server as the library's own dataclasses."""

from __future__ import annotations

from typing import Any

from serotine.index import Certificate, Explanation, Hit, Hits, IndexStats, SearchStats, TokenMatch, VerifyReport

_LOWEST = float("-inf")


def hits(body: dict[str, Any]) -> Hits:
    """A search's answer."""
    certificate = body["certificate"]
    return Hits(
        tuple(Hit(each["id"], _number(each["score"]), each["text"], each["metadata"]) for each in body["hits"]),
        SearchStats(**body["stats"]),
        None
        if certificate is None
        else Certificate(
            **{
                **certificate,
                "kth_score": _number(certificate["kth_score"]),
                "bound": _number(certificate["bound"]),
            }
        ),
    )


def document(body: dict[str, Any]) -> Hit:
    """A stored document, as `Index.get` gives it."""
    return Hit(body["id"], float("nan"), body["text"], body["metadata"])


def explanation(body: dict[str, Any]) -> Explanation:
    """An explanation."""
    matches = tuple(TokenMatch(**{**match, "similarity": _number(match["similarity"])}) for match in body["matches"])
    return Explanation(body["id"], _number(body["score"]), body["query"], body["text"], matches)


def stats(body: dict[str, Any]) -> IndexStats:
    """Counts and sizes."""
    return IndexStats(**body)


def report(body: dict[str, Any]) -> VerifyReport:
    """What a check looked at."""
    return VerifyReport(**{**body, "stray_files": tuple(body["stray_files"])})


def _number(value: float | None) -> float:
    """JSON has no infinity: null stands for minus infinity, the only one there can be."""
    return _LOWEST if value is None else value
