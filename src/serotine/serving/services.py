"""The services that the routes of one process share."""

from __future__ import annotations

from dataclasses import dataclass

from serotine.serving.indexes import ServedIndex, ServedIndexes
from serotine.serving.jobs import Jobs
from serotine.serving.metrics import Metrics
from serotine.serving.served_shards import ServedShards
from serotine.serving.server_paths import ServerPaths
from serotine.serving.settings import ServerSettings
from serotine.serving.work_pool import WorkPool


@dataclass(slots=True)
class Services:
    """Resources opened when a process starts and closed when it ends.

    Attributes:
        settings: the server's settings.
        metrics: its Prometheus metrics.
        indexes: the indexes it serves.
        searches: the pool that runs searches and encodings.
        jobs: uploads that are being indexed.
        paths: what messages say instead of the server's folders.
    """

    settings: ServerSettings
    metrics: Metrics
    indexes: ServedIndexes
    searches: WorkPool
    jobs: Jobs
    paths: ServerPaths

    @classmethod
    def start(cls, settings: ServerSettings, metrics: Metrics) -> Services:
        """Open everything.

        Raises:
            SerotineError: an index or its encoder cannot be opened.
        """
        paths = ServerPaths(settings)
        indexes = ServedIndexes(settings, metrics.batch.observe, paths)
        limits = settings.limits
        searches = WorkPool("search", threads=limits.threads, queue=limits.queue, seconds=limits.seconds)
        return cls(settings, metrics, indexes, searches, Jobs(settings, metrics, paths), paths)

    def index(self, name: str) -> ServedIndex | ServedShards:
        """Return an index; see `ServedIndexes.get`."""
        return self.indexes.get(name)

    def close(self) -> None:
        """Wait for running work, then close everything."""
        self.jobs.stop()
        self.searches.close()
        self.indexes.close()
