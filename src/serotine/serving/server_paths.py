"""Messages for readers elsewhere: they name indexes and files, but no folder of the server."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from serotine.serving.index_folders import SUFFIX
from serotine.serving.settings import ServerSettings

UPLOADS = "uploads"
"""The folder of uploads, one folder each, in the folder of a server's state."""
# What follows a folder in a message, up to the punctuation behind a path.
_REST = r"(?P<rest>(?:/[^/\s:,;'\"()]*)*)"
_UPLOAD = re.compile(rf"/{UPLOADS}/[0-9a-f]+/?")


class ServerPaths:
    """The folders that a server works in, each with what messages say instead.

    An index is its name, an uploaded file the name it was sent with, and any other file its own name.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._names: dict[str, Callable[[str], str]] = {}
        caches = [Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")), Path(sys.prefix)]
        for folder in caches:
            self.add_folder(folder)
        self._add(settings.state, _in_state)
        if settings.root is not None:
            self._add(settings.root, _under_root)
        for name, path in settings.indexes.items():
            self._add(path, lambda rest, name=name: f"{name}{rest}")  # type: ignore[misc]
        for name, shards in settings.shards.items():
            if "://" not in shards.url:
                self._add(Path(shards.url), lambda rest, name=name: f"{name}{rest}")  # type: ignore[misc]

    def add_folder(self, folder: Path) -> None:
        """Add a folder, such as that of an encoder, whose files are named without it."""
        self._add(folder, lambda rest: Path(f"{folder}{rest}").name)

    def hidden(self, value: Any) -> Any:
        """Return a message, or JSON values of messages, without these folders.

        >>> paths = ServerPaths(ServerSettings({"wiki": Path("/srv/wiki.serotine")}, Path("/run/serotine")))
        >>> paths.hidden("/srv/wiki.serotine/catalog.sqlite: the disk is full")
        'wiki/catalog.sqlite: the disk is full'
        """
        if isinstance(value, str):
            return self._pattern.sub(lambda match: self._names[match["folder"]](match["rest"]), value)
        if isinstance(value, dict):
            return {key: self.hidden(item) for key, item in value.items()}
        return [self.hidden(item) for item in value] if isinstance(value, list) else value

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # The longest first: an index may be in another of these folders.
        folders = "|".join(map(re.escape, sorted(self._names, key=len, reverse=True)))
        return re.compile(rf"(?<![\w./-])(?P<folder>{folders})(?![\w.-]){_REST}")

    def _add(self, folder: Path, name: Callable[[str], str]) -> None:
        for form in _forms(folder):
            self._names[form] = name
        self.__dict__.pop("_pattern", None)


def _forms(folder: Path) -> Iterable[str]:
    """Return a folder as messages may name it; nothing for a root, which is part of every path."""
    forms = {str(folder), str(folder.absolute()), str(folder.resolve())}
    return [form for form in forms if len(Path(form).parts) > 1]


def _in_state(rest: str) -> str:
    return _UPLOAD.sub("", rest, count=1) if _UPLOAD.match(rest) else Path(rest).name


def _under_root(rest: str) -> str:
    name, slash, file = rest.lstrip("/").partition("/")
    return f"{name.removesuffix(SUFFIX)}{slash}{file}" or "the folder of the indexes"
