"""Prometheus metrics."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

# prometheus_client reads this at import: if set, it stores its values in files that all workers share.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The server's metrics, in their own registry."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "serotine_requests", "Requests with a response.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "serotine_request_seconds",
            "Time from a request's first byte to its response's last.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_progress = Gauge(
            "serotine_requests_in_progress", "Requests in progress.", registry=registry, multiprocess_mode="livesum"
        )
        self.refused = Counter("serotine_refused", "Requests refused with 429.", registry=registry)
        self.batch = Histogram(
            "serotine_encoded_together",
            "Queries encoded in one batch.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self.search_seconds = Histogram(
            "serotine_search_seconds",
            "Time of a search, encoding excluded.",
            ("index", "plan"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.added = Counter(
            "serotine_documents_added", "Documents added and committed.", ("index",), registry=registry
        )

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, those of all workers where there are several."""
        if os.environ.get(SHARED_FOLDER):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)
