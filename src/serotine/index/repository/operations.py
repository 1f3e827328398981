"""Operations under way in a repository: pruning never runs beside a snapshot whose parts it could remove.

Each writes a marker of its own first, and lists the markers of others then: of two that start together, at least one
sees the other. A marker is renewed while its operation runs; one of a killed process counts for an hour.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from serotine.errors import RepositoryError
from serotine.index.repository.objects import MissingObjectError, Objects

Kind = Literal["snapshot", "prune"]
_FOLDER = "operations"
_STALE = 3600.0
_RENEWED_EVERY = 60.0


class Operation:
    """An operation under way, with its marker."""

    def __init__(self, objects: Objects, kind: Kind) -> None:
        self._objects = objects
        self._kind = kind
        self.name = f"{kind}-{uuid.uuid4().hex}"
        self._renewed = -_RENEWED_EVERY
        self.renew()

    def renew(self) -> None:
        """Renew the marker, once a minute."""
        # By a clock that is never set.
        if time.monotonic() - self._renewed >= _RENEWED_EVERY:
            self._renewed = time.monotonic()
            self._objects.write(f"{_FOLDER}/{self.name}", json.dumps({"time": time.time()}).encode())

    def confirm(self) -> None:
        """Raise RepositoryError where a prune has counted this operation as dead, and may have removed its parts."""
        if self.name not in self._objects.sizes(_FOLDER):
            raise RepositoryError(
                f"{self._objects.url}: pruned while this snapshot was suspended; run the same command again"
            )

    def end(self) -> None:
        """Remove the marker; where that fails, it goes stale."""
        with contextlib.suppress(RepositoryError):
            self._objects.remove([f"{_FOLDER}/{self.name}"])


@contextmanager
def operation(objects: Objects, kind: Kind) -> Iterator[Operation]:
    """Run an operation beside those that it may run beside.

    Raises:
        RepositoryError: a prune is running, or, for a prune, a snapshot is.
    """
    started = Operation(objects, kind)
    try:
        for name in sorted(objects.sizes(_FOLDER)):
            other = name.split("-", 1)[0]
            if name != started.name and "prune" in (kind, other):
                _check_ended(objects, kind, name, other)
        yield started
    finally:
        started.end()


def _check_ended(objects: Objects, kind: Kind, name: str, other: str) -> None:
    try:
        renewed = float(json.loads(objects.read(f"{_FOLDER}/{name}"))["time"])
    except MissingObjectError:
        return
    except (ValueError, KeyError, TypeError):
        renewed = 0.0
    # One of the future was written before the clock was set back.
    if abs(time.time() - renewed) > _STALE:
        if kind == "prune":
            objects.remove([f"{_FOLDER}/{name}"])
        return
    now = "a snapshot is being written" if other == "snapshot" else "snapshots are being pruned"
    until = f"{datetime.fromtimestamp(renewed + _STALE, UTC):%Y-%m-%d %H:%M} UTC"
    raise RepositoryError(f"{objects.url}: {now}; try again when that has ended, or at {until} where it was killed")
