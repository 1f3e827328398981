"""An HTTP application on Ray Serve: its replicas are processes of the cluster, behind Ray's proxies."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from serotine.distributed.ray_library import connected_ray
from serotine.errors import SerotineError

_NAME = "serotine"
_CHECK_SECONDS = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_on_ray_serve(
    create: Callable[[], Any],
    *,
    address: str | None,
    host: str,
    port: int,
    every_node: bool,
    replicas: int,
    requests: int,
    on_ready: Callable[[], None],
) -> int:
    """Run an ASGI application on Ray Serve until SIGTERM or SIGINT; return the exit status.

    Args:
        create: returns the application, in the process of each replica.
        address: of the Ray cluster; see `connected_ray`.
        host: address that Ray's proxies listen on.
        port: their port.
        every_node: a proxy on every node with a replica; otherwise on the head alone.
        replicas: number of processes.
        requests: that one replica is given at a time; others wait in the proxies.
        on_ready: called when the application answers.

    Raises:
        SerotineError: Ray Serve is not installed, it runs already, or the application cannot be created or has ended.
    """
    ray = connected_ray(address)
    try:
        serve: Any = importlib.import_module("ray.serve")
    except ImportError:
        raise SerotineError("Ray Serve is not installed; run: pip install 'ray[serve]'") from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    if serve.status().proxies:
        raise SerotineError("Ray Serve runs on this cluster already; stop it first: serve shutdown")
    stopped, ready = threading.Event(), threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        if not ready.is_set():
            # Ray Serve waits for a replica that starts as long as it takes.
            raise _StoppedError

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        http = {"host": host, "port": port, "location": "EveryNode" if every_node else "HeadOnly"}
        with suppress(_StoppedError):
            _deploy(serve, create, http, replicas, requests)
            ready.set()
        ready.set()
        if not stopped.is_set():
            on_ready()
        while not stopped.wait(_CHECK_SECONDS):
            _check(ray, serve)
    finally:
        serve.shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


class _StoppedError(Exception):
    """A signal came before the application answered."""


def _deploy(serve: Any, create: Callable[[], Any], http: dict[str, Any], replicas: int, requests: int) -> None:
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    serve.start(http_options=http, logging_config=quiet)

    def application() -> Any:
        """Return the application; Ray Serve takes no other callable than a function for what makes one."""
        return create()

    class Server:
        """What Ray Serve names the replicas after."""

    # The shards reserve processors; on a small machine none would be left for the replica.
    deployment = serve.deployment(
        num_replicas=replicas, max_ongoing_requests=requests, ray_actor_options={"num_cpus": 0}
    )(serve.ingress(application)(Server))
    try:
        serve.run(deployment.bind(), name=_NAME, route_prefix="/", logging_config=quiet)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise SerotineError(f"the server did not start on Ray Serve: {lines[-1] if lines else error}") from None


def _check(ray: Any, serve: Any) -> None:
    """Raise SerotineError when the application, or the cluster, has ended."""
    try:
        ended = _NAME not in serve.status().applications
    except (RuntimeError, ray.exceptions.RayError) as error:
        raise SerotineError(f"the Ray cluster does not answer: {error}") from None
    if ended:
        raise SerotineError("the server on Ray Serve was stopped by another program")
