"""Run the application in one process, or in several that share its socket."""

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
from serotine.serving.http.logs import configure_logging
from serotine.serving.metrics import SHARED_FOLDER
from serotine.serving.settings import ServerSettings


def serve(settings: ServerSettings, *, host: str, port: int, workers: int) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    The signal closes the socket, lets the requests in progress end, and closes the indexes.
    """
    if workers > 1:
        metrics_folder = settings.state / "metrics"
        metrics_folder.mkdir()
        # Read when prometheus_client is imported, which the workers have not done yet.
        os.environ[SHARED_FOLDER] = str(metrics_folder)
    configure_logging()
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
        # A worker responds once it has imported everything, which takes seconds on a busy machine.
        timeout_worker_healthcheck=15,
    )
    if workers == 1:
        # uvicorn re-raises the signal that stopped it, which would skip the removal of temporary folders.
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
    """Create the application of one process."""
    from serotine.serving.http.app import create_app

    parent = multiprocessing.parent_process()
    if parent is None:
        return create_app(settings)
    configure_logging()
    threading.Thread(target=_stop_with, args=(parent,), daemon=True).start()
    try:
        return create_app(settings)
    except SerotineError as error:
        logging.getLogger("serotine.serving").error(str(error))
        # With any other status the supervisor would restart the worker forever.
        sys.exit(STARTUP_FAILURE)


def _stop_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Stop this worker when its supervisor dies; otherwise it would run forever."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
