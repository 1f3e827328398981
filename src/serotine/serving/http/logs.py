"""The log: one JSON object per line on standard error."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

# Of these everything is logged, of other libraries warnings and errors.
_LOGGERS = ("serotine.serving", "uvicorn", "uvicorn.error", "asyncio", "py.warnings")


# uvicorn's steps of starting: the server prints its address once it accepts requests.
_STARTUP = (
    "Started server process",
    "Waiting for application startup",
    "Application startup complete",
    "Uvicorn running on",
    "Started parent process",
)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time, level, event, and the fields of `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        # ASCII: a log may quote text of a request that UTF-8 cannot encode.
        return json.dumps(line, default=str)


def _is_news(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or not record.getMessage().startswith(_STARTUP)


def configure_logging() -> None:
    """Send the messages of the server, of Python and of all libraries to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(_is_news)
    logging.getLogger().handlers = [handler]
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
