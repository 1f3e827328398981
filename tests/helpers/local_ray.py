"""Ray's tasks in this process: what `run_tasks` calls, for tests of what tasks do rather than of where they run."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class RayTaskError(Exception):
    """What a task raised, as Ray hands it over."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class LocalRay:
    """The module `ray`, whose tasks run when they are waited for, the last one first.

    Attributes:
        resources: of the cluster.
        lost: number of tasks whose processes die.
        cancelled: number of tasks that were cancelled.
    """

    def __init__(self, *, resources: dict[str, float] | None = None, lost: int = 0) -> None:
        self.resources = resources or {"CPU": 2.0}
        self.lost = lost
        self.cancelled = 0
        self.exceptions = SimpleNamespace(RayTaskError=RayTaskError, RayError=OSError)

    def available_resources(self) -> dict[str, float]:
        """Return what the cluster has: nothing is in use."""
        return self.resources

    def cluster_resources(self) -> dict[str, float]:
        """Return what the cluster has."""
        return self.resources

    def remote(self, function: Callable[[Any], Any]) -> Any:
        """Return a task of a function."""

        class Task:
            def options(self, **_options: Any) -> Any:
                return self

            def remote(self, order: Any) -> Any:
                # An object of its own: references are keys.
                return _Reference(lambda: function(_sent(order)))

        return Task()

    def wait(
        self, references: Sequence[Any], num_returns: int, timeout: float | None = None
    ) -> tuple[list[Any], list[Any]]:
        """Return one task that is done, and the others."""
        assert num_returns == 1
        return [references[-1]], list(references[:-1])

    def get(self, reference: Any) -> Any:
        """Return a task's result."""
        if self.lost:
            self.lost -= 1
            raise OSError("the worker died")
        try:
            return _sent(reference.run())
        except Exception as error:
            raise RayTaskError(_sent(error)) from None

    def cancel(self, _reference: Any, *, force: bool) -> None:
        """Count a task that is cancelled."""
        assert force
        self.cancelled += 1


def _sent(value: Any) -> Any:
    """Return a value as another process gets it."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


class _Reference:
    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
