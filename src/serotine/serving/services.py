"""What the routes of one process share."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from serotine.serving.indexes import ServedIndex, ServedIndexes
from serotine.serving.jobs import Jobs
from serotine.serving.metrics import Metrics
from serotine.serving.settings import ServerSettings
from serotine.serving.work import WorkPool


@dataclass(slots=True)
class Services:
    """Made when the process starts, closed when it ends.

    Attributes:
        settings: what the server was told.
        metrics: its numbers.
        indexes: what it serves.
        searches: where searches and encodings are run.
        jobs: uploads being indexed.
    """

    settings: ServerSettings
    metrics: Metrics
    indexes: ServedIndexes
    searches: WorkPool
    jobs: Jobs

    @classmethod
    def start(cls, settings: ServerSettings, metrics: Metrics) -> Services:
        """Opens everything.

        Raises:
            SerotineError: an index or its encoder cannot be opened.
        """
        indexes = ServedIndexes(settings, metrics.batch.observe)
        limits = settings.limits
        searches = WorkPool("search", threads=limits.threads, queue=limits.queue, seconds=limits.seconds)
        return cls(settings, metrics, indexes, searches, Jobs(settings.state, metrics))

    @classmethod
    def of(cls, request: Request) -> Services:
        """Those of the process that answers."""
        services: Services = request.app.state.services
        return services

    def index(self, name: str) -> ServedIndex:
        """As `ServedIndexes.get`."""
        return self.indexes.get(name)

    def close(self) -> None:
        """Lets what runs end, then closes everything."""
        self.jobs.stop()
        self.searches.close()
        self.indexes.close()
