"""The library Ray, where it is installed, and a connection to a cluster that is quiet."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serotine.errors import SerotineError, missing_extra


def connected_ray(address: str | None = None) -> Any:
    """Return the module `ray`, connected: to `address`, to a cluster found, or to one started in this process.

    Raises:
        SerotineError: Ray is not installed.
    """
    # Ray warns about this default when it is imported; what the user has set stays.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray writes to the standard output when a process ends, whatever `log_to_driver` is; read when it is imported.
    # Its log files have all of it, and errors here say what it means.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError:
        raise SerotineError(missing_extra("serotine.distributed", "ray")) from None
    is_own = address == "local" or (address is None and "RAY_ADDRESS" not in os.environ)
    if not ray.is_initialized():
        with _own_sigterm():
            ray.init(
                address=address,
                log_to_driver=False,
                # Warnings are about Ray's own configuration.
                logging_level=logging.ERROR,
                include_dashboard=False if is_own else None,
            )
    return ray


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the program's handler of SIGTERM; Ray's prints the stack of its C++ threads, and aborts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # None: not installed from Python.
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def described_cluster(ray: Any) -> str:
    """Return which cluster this process is connected to: "192.0.2.1:6379, 2 machines, 16 CPU"."""
    machines = sum(node["Alive"] for node in ray.nodes())
    has = ray.cluster_resources()
    processors = [f"{has[name]:g} {name}" for name in ("CPU", "GPU") if has.get(name)]
    parts = [ray.get_runtime_context().gcs_address, f"{machines:,} machine{'s' * (machines != 1)}", *processors]
    return ", ".join(parts)


def processors_each(ray: Any, processes: int) -> float:
    """Return how many processors to reserve for each of so many processes: 1, or 0 where fewer are free."""
    return 1.0 if ray.available_resources().get("CPU", 0.0) >= processes else 0.0


def ended_because(error: BaseException) -> str:
    """Return why an actor did not answer, of an error of Ray."""
    kind = type(error).__name__
    if "Unavailable" in kind:
        return "its process cannot be reached"
    return "its process or machine ended" if "Died" in kind or "Crashed" in kind else kind
