"""Where the objects of a repository are: a folder, or any file system of fsspec, behind the same four operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from serotine.errors import RepositoryError, reason
from serotine.files import open_regular
from serotine.index.files import durable

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_LOCAL = re.compile(r"(file|local)://")


class MissingObjectError(Exception):
    """An object that is not there."""


class Objects(Protocol):
    """Objects by name, such as ``parts/1f0c``. Each is complete under its name, or not there.

    Every method raises RepositoryError where the place cannot be reached, read or written.

    Attributes:
        url: the place, for messages: without a password.
    """

    url: str

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the size of every object in a folder, by its name within the folder."""
        ...

    def read(self, name: str) -> bytes:
        """Return an object; raise MissingObjectError where there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write an object, replacing one of that name."""
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects, those that exist."""
        ...


def is_url(place: str) -> bool:
    """Return whether a place is given by a URL, and not by the path of a folder."""
    return _URL.match(place) is not None


def local_folder(place: str) -> Path | None:
    """Return the folder that a path, or a URL such as ``file:///mnt/backup``, names; None elsewhere."""
    if match := _LOCAL.match(place):
        return Path(place[match.end() :]).absolute()
    return None if is_url(place) else Path(place).absolute()


class LocalObjects:
    """Objects that are files of a local folder, each on disk before `write` returns."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder)
        self._folder = folder

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Objects`."""
        try:
            return {path.name: path.stat().st_size for path in (self._folder / folder).iterdir() if not path.is_dir()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failed("read", error) from error

    def read(self, name: str) -> bytes:
        """See `Objects`."""
        try:
            with open_regular(self._folder / name) as file:
                return file.read()
        except FileNotFoundError:
            raise MissingObjectError(name) from None
        except OSError as error:
            raise self._failed("read", error) from error

    def write(self, name: str, data: bytes) -> None:
        """See `Objects`."""
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with durable.DurableFile(path) as file:
                file.write(data)
        except OSError as error:
            raise self._failed("written", error) from error

    def remove(self, names: Sequence[str]) -> None:
        """See `Objects`."""
        try:
            for name in names:
                durable.remove(self._folder / name)
        except OSError as error:
            raise self._failed("changed", error) from error

    def _failed(self, action: str, error: OSError) -> RepositoryError:
        return RepositoryError(f"{self.url}: cannot be {action} ({error.strerror or reason(error)})")
