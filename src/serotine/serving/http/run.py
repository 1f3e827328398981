"""Run the application in one process, or in several that share its socket."""

from __future__ import annotations

import errno
import functools
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from contextlib import suppress

import click
import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from serotine.errors import SerotineError
from serotine.serving.http.logs import configure_logging
from serotine.serving.http.slow_clients import PatientProtocol
from serotine.serving.listening import Announcement, bind, cannot_listen
from serotine.serving.metrics import SHARED_FOLDER
from serotine.serving.settings import ServerSettings


def serve(settings: ServerSettings, *, host: str, port: int, workers: int) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    The signal closes the socket, lets the requests in progress end, and closes the indexes. The address is printed on
    standard output once requests are accepted.

    Raises:
        SerotineError: the address cannot be listened on, or an index or its encoder cannot be opened.
    """
    bound = bind(host, port)
    if workers > 1:
        metrics_folder = settings.state / "metrics"
        metrics_folder.mkdir()
        # Read when prometheus_client is imported, which the workers have not done yet.
        os.environ[SHARED_FOLDER] = str(metrics_folder)
    configure_logging()
    config = uvicorn.Config(
        functools.partial(_application, settings),
        factory=True,
        http=PatientProtocol,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.limits.drain_seconds),
        # A worker responds once it has imported everything, which takes seconds on a busy machine.
        timeout_worker_healthcheck=15,
    )
    with bound, Announcement(bound, host, _announce):
        try:
            return _run(config, bound)
        except OSError as error:
            # Another server may have bound the same port before either listened.
            if error.errno != errno.EADDRINUSE:
                raise
            raise cannot_listen(host, port, error) from None


def _announce(address: str) -> None:
    click.echo(f"Open {address}  (Ctrl-C stops the server)")


def _run(config: uvicorn.Config, bound: socket.socket) -> int:
    if config.workers == 1:
        # uvicorn re-raises the signal that stopped it, which would skip the removal of temporary folders.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        # After it has shut down, uvicorn raises SIGINT again: to stop a server is no failure.
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[bound])
        return 0
    supervisor = Multiprocess(config, sockets=[bound])
    supervisor.run()
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
