"""Running the application: one process, or several that share its socket."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from serotine.errors import SerotineError
from serotine.serving.logs import configure
from serotine.serving.metrics import SHARED_FOLDER
from serotine.serving.settings import ServerSettings


def serve(settings: ServerSettings, *, host: str, port: int, workers: int) -> int:
    """Serves until it is told to stop; returns the exit status.

    SIGTERM and SIGINT close the socket, let the requests that run end, and close the indexes.
    """
    if workers > 1:
        numbers = settings.state / "metrics"
        numbers.mkdir()
        # Read when prometheus_client is imported, which the workers have yet to do.
        os.environ[SHARED_FOLDER] = str(numbers)
    configure()
    config = uvicorn.Config(
        functools.partial(_application, settings),
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.limits.drain_seconds),
        # A worker answers once it has imported everything, which takes seconds on a busy machine.
        timeout_worker_healthcheck=15,
    )
    if workers == 1:
        # uvicorn sends itself the signal again that it has stopped for; what is to be removed must be removed first.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        uvicorn.Server(config).run()
        return 0
    socket = config.bind_socket()
    try:
        supervisor = Multiprocess(config, sockets=[socket])
        supervisor.run()
    finally:
        socket.close()
    return 1 if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes) else 0


def _application(settings: ServerSettings) -> FastAPI:
    """What each process makes of the settings."""
    from serotine.serving.app import create_app

    parent = multiprocessing.parent_process()
    if parent is None:
        return create_app(settings)
    configure()
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    try:
        return create_app(settings)
    except SerotineError as error:
        logging.getLogger("serotine.serving").error(str(error))
        # The supervisor would start a worker that died of anything else again, and again.
        sys.exit(STARTUP_FAILURE)


def _follow(parent: multiprocessing.process.BaseProcess) -> None:
    """A worker whose supervisor was killed would go on for ever; it stops as if it had been told to."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
