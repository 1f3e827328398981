"""Room on a Ray cluster: waiting for processes that are to start, and what is missing where they cannot."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from serotine.errors import SerotineError, WaitingForClusterWarning
from serotine.issued_warnings import issue_warning

# Ray queues in silence what has no room: after so many seconds a warning says what is waited for.
_QUIET_SECONDS = 10.0
_CHECK_SECONDS = 1.0
# What to do where no machine is alive.
RESTART = "start Ray, and open the index again"
# How the options of tasks name what machines have.
_OPTIONS = {"num_cpus": "CPU", "num_gpus": "GPU"}


class ClusterRoom:
    """What a cluster has for processes that are about to start.

    Args:
        ray: the module, connected.
        place: what the processes belong to, for messages.
        resources: what Ray reserves for each, as the cluster names it: ``{"CPU": 1.0}``.
        processes: number of processes that run at the same time.
        setting: the argument that changes what is reserved, for messages; "" where there is none.
    """

    def __init__(
        self, ray: Any, place: str, resources: Mapping[str, float], processes: int = 1, *, setting: str = ""
    ) -> None:
        self._ray = ray
        self._place = place
        self._resources = {name: count for name, count in resources.items() if count}
        self._processes = processes
        self._setting = f" ({setting})" if setting else ""
        # Later, what is not free may be reserved for these processes.
        free = ray.available_resources() if self._resources else {}
        self._had_room = all(free.get(name, 0.0) >= each * processes for name, each in self._resources.items())
        self._lock = threading.Lock()
        self._checked = -math.inf
        self._machines = 0
        self._shortage = ""

    def has_machine(self) -> bool:
        """Return whether a machine is alive; where none is, nothing starts until Ray itself is started again."""
        self._check()
        return self._machines > 0

    def shortage(self) -> str:
        """Return what the cluster lacks for one of the processes, of at most a second ago; "" where it has room."""
        self._check()
        return self._shortage

    def wait(self, references: Sequence[Any], end: float) -> Any | None:
        """Return one reference that has its result; None at the time `end`, or where no machine is alive.

        Issues one WaitingForClusterWarning where it takes long and the cluster has no room.
        """
        started, has_warned = time.monotonic(), False
        while True:
            now = time.monotonic()
            done, _ = self._ray.wait(list(references), num_returns=1, timeout=max(min(_CHECK_SECONDS, end - now), 0))
            if done:
                return done[0]
            if time.monotonic() >= end or not self.has_machine():
                return None
            is_late = time.monotonic() > started + _QUIET_SECONDS
            if is_late and not has_warned and (shortage := self.shortage()):
                has_warned = True
                at_most = f"{end - started:,.0f} seconds at most"
                issue_warning(
                    WaitingForClusterWarning(f"{self._place}: waiting for the Ray cluster, {at_most}: {shortage}")
                )

    def _check(self) -> None:
        with self._lock:
            if time.monotonic() < self._checked + _CHECK_SECONDS:
                return
            nodes = [node for node in self._ray.nodes() if node["Alive"]]
            self._machines = len(nodes)
            self._shortage = self._missing(nodes)
            self._checked = time.monotonic()

    def _missing(self, nodes: Sequence[Mapping[str, Any]]) -> str:
        if not nodes:
            return "no machine of the Ray cluster is alive"
        free = self._ray.available_resources()
        machines = f"{len(nodes):,} machines" if len(nodes) > 1 else "1 machine"
        for name, each in self._resources.items():
            total = sum(node["Resources"].get(name, 0.0) for node in nodes)
            has_capacity = self._had_room and total >= each * self._processes
            if not has_capacity and free.get(name, 0.0) < each:
                reserved = f"each process reserves {each:g} {name}{self._setting}"
                return f"{reserved}, and {free.get(name, 0.0):g} of {total:g} are free on {machines}"
        return ""


def wait_for_room(ray: Any, place: str, resources: Mapping[str, float], timeout: float) -> None:
    """Wait until a task that needs `resources`, named as options of tasks are, can start.

    Raises:
        SerotineError: none can in `timeout` seconds; says what is missing.
    """
    room = ClusterRoom(ray, place, {_OPTIONS[name]: count for name, count in resources.items()})
    # What has room is what Ray runs: processors that are free now may be those of tasks that wait longer.
    reference = ray.remote(_start).options(**resources).remote(None)
    if room.wait([reference], time.monotonic() + timeout) is None:
        ray.cancel(reference, force=True)
        missing = room.shortage() or "its processors are in use"
        raise SerotineError(f"{place}: the Ray cluster had no room for a task in {timeout:g} seconds: {missing}")


def _start(_: None) -> None:
    """Do nothing, which shows that there is room."""
