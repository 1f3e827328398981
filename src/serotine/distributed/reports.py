"""Statistics and reports of shards, summed into those of the collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from serotine.index import IndexStats, VerifyReport

_SUMS = (
    "documents", "deleted", "tokens", "deleted_tokens", "segments", "coded_tokens", "codebooks", "bytes",
    "catalog_bytes", "truncated", "unknown",
)  # fmt: skip


def merged_stats(shards: Mapping[int, IndexStats]) -> IndexStats:
    """Return the statistics of a collection: counts and sizes are sums, sizes per token their means.

    Args:
        shards: by number, at least one. Settings are those of the first; recall is measured per shard, so there is no
            calibration of the whole.
    """
    first = shards[min(shards)]
    stored = sum(stats.tokens + stats.deleted_tokens for stats in shards.values())
    coded = sum(stats.coded_tokens for stats in shards.values())
    code_bytes = sum(stats.code_bytes_per_token * stats.coded_tokens for stats in shards.values())
    scripts: Counter[str] = Counter()
    for stats in shards.values():
        scripts.update(stats.unknown_scripts)
    return replace(
        first,
        **{name: sum(getattr(stats, name) for stats in shards.values()) for name in _SUMS},
        centroids=max(stats.centroids for stats in shards.values()),
        bytes_per_token=sum(stats.bytes for stats in shards.values()) / stored if stored else 0.0,
        code_bytes_per_token=code_bytes / coded if coded else 0.0,
        unknown_scripts=dict(scripts.most_common()),
        calibration=None,
    )


def merged_reports(shards: Mapping[int, VerifyReport]) -> VerifyReport:
    """Return what was verified in all shards."""
    reports = [report for _, report in sorted(shards.items())]
    return VerifyReport(
        segments=sum(report.segments for report in reports),
        codebooks=sum(report.codebooks for report in reports),
        documents=sum(report.documents for report in reports),
        bytes=sum(report.bytes for report in reports),
        stray_files=tuple(file for report in reports for file in report.stray_files),
        deleted=sum(report.deleted for report in reports),
    )
