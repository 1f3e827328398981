"""Ray actors that answer for a shard, in service or out of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serotine.distributed.shard_server import NotReady

# Requests that a shard answers at the same time.
CONCURRENCY = 4


class Replica:
    """An actor that answers for a shard; out of service from the first request that it fails until it answers.

    Args:
        ray: the module, connected.
        start: starts the actor, again when it has died for good.
    """

    def __init__(self, ray: Any, start: Callable[[], Any]) -> None:
        self._ray = ray
        self._start = start
        self._lock = threading.Lock()
        self.actor = start()
        # A request that it answers when it is back.
        self.recovery: Any | None = None
        # When it was taken out of service.
        self._suspended = 0.0

    def suspend(self, state: str) -> None:
        """Take the actor out of service until it can answer for `state`."""
        with self._lock:
            if self.recovery is None:
                self.recovery = self.actor.ready.remote(state)
                self._suspended = time.monotonic()

    def seconds_out_of_service(self) -> float:
        """Return the seconds since the actor was taken out of service; 0 where it is in service."""
        return 0.0 if self.recovery is None else time.monotonic() - self._suspended

    def is_in_service(self, state: str) -> bool:
        """Return whether the actor is in service, again if it has answered meanwhile; replace it if it is dead."""
        with self._lock:
            if self.recovery is None:
                return True
            done, _ = self._ray.wait([self.recovery], timeout=0)
            if not done:
                return False
            exceptions = self._ray.exceptions
            try:
                answer = self._ray.get(self.recovery)
            except (exceptions.ActorDiedError, exceptions.ActorUnschedulableError):
                # For good: Ray starts it no more.
                self.actor = self._start()
                answer = NotReady("")
            except exceptions.RayError as error:
                answer = NotReady(str(error))
            if isinstance(answer, NotReady):
                self.recovery = self.actor.ready.remote(state)
                return False
            self.recovery = None
            return True

    def replace(self) -> None:
        """End the actor, if it has not died, and start it again."""
        with self._lock:
            self._ray.kill(self.actor)
            self.actor = self._start()
            self.recovery = None

    def close(self) -> None:
        """End the actor."""
        self._ray.kill(self.actor)


@dataclass(frozen=True, slots=True)
class Serving:
    """Who answers for a shard, and for which state of it.

    Attributes:
        state: name of the snapshot, or of the folder of a writer, whose index changes.
        replicas: any of them can answer.
    """

    state: str
    replicas: tuple[Replica, ...]
