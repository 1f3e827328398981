"""Run the application in one process, or in several that share its socket."""

from __future__ import annotations

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
from serotine.serving.listening import address, listen
from serotine.serving.metrics import SHARED_FOLDER
from serotine.serving.settings import ServerSettings


def serve(settings: ServerSettings, *, host: str, port: int, workers: int) -> int:
    """Serve until SIGTERM, SIGINT or, in one process, SIGHUP; return the exit status.

    The signal closes the socket, lets the requests in progress end, and closes the indexes. The address is printed on
    standard output once the indexes are open.

    Raises:
        SerotineError: the address cannot be listened on, or an index or its encoder cannot be opened.
    """
    listening = listen(host, port)
    if workers > 1:
        metrics_folder = settings.state / "metrics"
        metrics_folder.mkdir()
        # Read when prometheus_client is imported, which the workers have not done yet.
        os.environ[SHARED_FOLDER] = str(metrics_folder)
    configure_logging()
    config = uvicorn.Config(
        functools.partial(_application, settings, address(listening, host)),
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
    with listening:
        return _run(config, listening)


def _run(config: uvicorn.Config, listening: socket.socket) -> int:
    if config.workers == 1:
        # uvicorn re-raises the signal that stopped it, which would skip the removal of temporary folders.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        # A terminal that is closed stops the server too, unless nohup keeps it.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, lambda _number, _frame: signal.raise_signal(signal.SIGTERM))
        # After it has shut down, uvicorn raises SIGINT again: to stop a server is no failure.
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
        return 0
    supervisor = Multiprocess(config, sockets=[listening])
    supervisor.run()
    return 1 if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes) else 0


def _application(settings: ServerSettings, address: str) -> FastAPI:
    """Create the application of one process; the first that has done so prints the server's address."""
    app = _create_app(settings)
    with suppress(FileExistsError):
        (settings.state / "announced").touch(exist_ok=False)
        click.echo(f"Open {address}  (Ctrl-C stops the server)")
    return app


def _create_app(settings: ServerSettings) -> FastAPI:
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
