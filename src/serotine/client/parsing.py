"""JSON responses as the library's dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from serotine.errors import SerotineWarning
from serotine.index import (
    Calibration,
    Certificate,
    Explanation,
    Hit,
    Hits,
    IndexStats,
    Partial,
    PooledStats,
    SearchStats,
    TokenMatch,
    TuneReport,
    VerifyReport,
)
from serotine.wire import WARNINGS


def hits(body: dict[str, Any]) -> Hits:
    """Parse the hits of one query."""
    certificate = body["certificate"]
    # Servers of earlier versions have no sharded indexes.
    partial = body.get("partial")
    return Hits(
        tuple(_hit(hit) for hit in body["hits"]),
        SearchStats(**body["stats"]),
        None
        if certificate is None
        else Certificate(
            **{
                **certificate,
                "kth_score": _score(certificate["kth_score"]),
                "bound": _score(certificate["bound"]),
            }
        ),
        warnings=warnings(body),
        partial=None
        if partial is None
        else Partial(tuple(partial["searched"]), tuple(partial["missing"]), partial["statement"]),
    )


def warnings(body: Mapping[str, Any]) -> tuple[SerotineWarning, ...]:
    """Parse the warnings of an answer; those of a newer server that have an unknown kind are `SerotineWarning`."""
    return tuple(WARNINGS.get(warning["kind"], SerotineWarning)(warning["message"]) for warning in body["warnings"])


def _hit(body: dict[str, Any]) -> Hit:
    values = {field.name: body[field.name] for field in fields(Hit)}
    return Hit(**{**values, "score": _score(body["score"])})


def document(body: dict[str, Any]) -> Hit:
    """Parse a stored document; like `Index.get`, it has no score."""
    return Hit(body["id"], float("nan"), body["text"], body["metadata"])


def explanation(body: dict[str, Any]) -> Explanation:
    """Parse an explanation."""
    matches = tuple(TokenMatch(**{**match, "similarity": _score(match["similarity"])}) for match in body["matches"])
    return Explanation(body["id"], _score(body["score"]), body["query"], body["text"], matches)


def stats(body: dict[str, Any]) -> IndexStats:
    """Parse index statistics."""
    pooled = body.get("pooled")
    parsed = None if pooled is None else PooledStats(**{**pooled, "weights": tuple(pooled["weights"])})
    return IndexStats(**{**body, "calibration": _calibration(body["calibration"]), "pooled": parsed})


def tuned(body: dict[str, Any]) -> TuneReport:
    """Parse a measurement of recall."""
    return TuneReport(body["statement"], _calibration(body["calibration"]))


def _calibration(body: dict[str, Any] | None) -> Calibration | None:
    return None if body is None else Calibration.parse(body)


def report(body: dict[str, Any]) -> VerifyReport:
    """Parse a verification report."""
    return VerifyReport(**{**body, "stray_files": tuple(body["stray_files"])})


def _score(value: float | None) -> float:
    """Return a score; null means minus infinity, which JSON lacks."""
    return float("-inf") if value is None else value
