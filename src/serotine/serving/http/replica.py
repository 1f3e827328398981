"""The application in a process that another program runs, which also listens for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI

from serotine.serving.http.app import create_app
from serotine.serving.http.logs import configure_logging
from serotine.serving.settings import ServerSettings


def create_replica(settings: ServerSettings) -> FastAPI:
    """Create the application, as `create_app`, with a state folder on this machine that ends with the process."""
    configure_logging()
    state = TemporaryDirectory(prefix="serotine-serve-", ignore_cleanup_errors=True)
    app = create_app(replace(settings, state=Path(state.name)))
    # Removed when it is collected, at the latest when the process ends.
    app.state.folder = state
    return app
