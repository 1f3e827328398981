"""Inputs worth trying again, kept under cache/torture: the next run replays them first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(__file__).parents[2] / "cache" / "torture"
_MAX_FILES = 1000


class Found:
    """The inputs of one attack.

    Args:
        attack: its name.
    """

    def __init__(self, attack: str) -> None:
        self._folder = CACHE / attack

    def __iter__(self) -> Iterator[bytes]:
        files = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        return (file.read_bytes() for file in files)

    def add(self, data: bytes) -> None:
        """Keep an input, unless there are many already."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if sum(1 for _ in self._folder.iterdir()) < _MAX_FILES:
            (self._folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
