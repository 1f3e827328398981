"""Parts on their way: files to a repository, and back to a folder, several parts at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from serotine.errors import IndexDamagedError, index_damaged
from serotine.index.files import FileChecksum, FileRecord, durable
from serotine.index.repository.manifest import PART_BYTES, StoredFile, digest
from serotine.index.repository.objects import MissingObjectError, Objects
from serotine.progress import ProgressBar

PARTS = "parts"
# Parts on their way at a time: they hide each other's latency, and bound memory.
_PARALLEL = 4


class _Queue:
    """Tasks of several threads, each with what follows in this thread when it is done."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Future[bytes], Callable[[bytes], None]]] = deque()

    def submit(self, task: Callable[[], bytes], then: Callable[[bytes], None]) -> None:
        """Queue a task; wait for the oldest where too many are under way."""
        while len(self._waiting) >= _PARALLEL:
            self._take()
        self._waiting.append((self._pool.submit(task), then))

    def finish(self) -> None:
        """Wait for all tasks."""
        while self._waiting:
            self._take()

    def _take(self) -> None:
        future, then = self._waiting.popleft()
        then(future.result())


@contextmanager
def _queue() -> Iterator[_Queue]:
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="serotine-transfer")
    try:
        queue = _Queue(pool)
        yield queue
        queue.finish()
    finally:
        pool.shutdown(cancel_futures=True)


class Upload:
    """Files cut into parts, of which those that the repository lacks are sent.

    Attributes:
        transferred: bytes sent.
    """

    def __init__(self, objects: Objects, bar: ProgressBar, renew: Callable[[], None]) -> None:
        self.transferred = 0
        self._objects = objects
        self._bar = bar
        self._renew = renew
        self._present = objects.sizes(PARTS)

    def has(self, file: StoredFile) -> bool:
        """Return whether the repository has all parts of a file."""
        return all(self._present.get(part) == size for part, size in file.sizes())

    def send(self, file: BinaryIO, record: FileRecord) -> StoredFile:
        """Send an open file.

        Args:
            file: the file.
            record: its record; the checksum is "" where there is none to compare with.

        Raises:
            IndexDamagedError: it is not what was written.
        """
        checksum = FileChecksum()
        parts: list[str] = []
        size = 0
        with _queue() as queue:
            while data := file.read(PART_BYTES):
                checksum.update(data)
                size += len(data)
                parts.append(part := digest(data))
                if self._present.get(part) == len(data):
                    self._bar.reach(self._bar.completed, (self._bar.total or 0) - len(data))
                else:
                    self._present[part] = len(data)
                    queue.submit(lambda part=part, data=data: self._write(part, data), self._sent)  # type: ignore[misc]
                self._renew()
        if size != record.bytes or (record.checksum and checksum.hexdigest() != record.checksum):
            raise index_damaged(f"the checksum of {record.name} does not match the catalog's")
        return StoredFile(record.name, size, record.checksum, tuple(parts))

    def _write(self, part: str, data: bytes) -> bytes:
        self._objects.write(f"{PARTS}/{part}", data)
        return data

    def _sent(self, data: bytes) -> None:
        self.transferred += len(data)
        self._bar(len(data))


class Download:
    """Files written to a folder part by part; parts that an earlier, interrupted download left there are used.

    Attributes:
        transferred: bytes fetched.
    """

    def __init__(self, objects: Objects, bar: ProgressBar) -> None:
        self.transferred = 0
        self._objects = objects
        self._bar = bar

    def fetch(self, stored: StoredFile, path: Path) -> None:
        """Fetch a file to `path`, on disk when this returns.

        Raises:
            IndexDamagedError: a part is missing or damaged; names the object.
        """
        resumed = path.exists()
        if resumed and path.stat().st_nlink > 1:
            # Shared with another index: what an interrupted download linked, and of another file now.
            durable.remove(path)
            resumed = False
        with path.open("r+b" if resumed else "w+b") as file, _queue() as queue:
            for number, (part, size) in enumerate(stored.sizes()):
                start = number * PART_BYTES
                if resumed:
                    file.seek(start)
                    if digest(file.read(size)) == part:
                        self._bar.reach(self._bar.completed, (self._bar.total or 0) - size)
                        continue
                queue.submit(
                    lambda part=part: self._read(part),  # type: ignore[misc]
                    lambda data, start=start: self._received(file, start, data),  # type: ignore[misc]
                )
            queue.finish()
            file.truncate(stored.bytes)
            durable.sync(file)

    def _read(self, part: str) -> bytes:
        name = f"{PARTS}/{part}"
        try:
            # Once more where the bytes differ: damage on the way passes.
            data = next((data for _ in range(2) if digest(data := self._objects.read(name)) == part), None)
        except MissingObjectError:
            raise IndexDamagedError(
                f"{self._objects.url}/{name}: the object is missing; restore another snapshot"
            ) from None
        if data is None:
            raise IndexDamagedError(
                f"{self._objects.url}/{name}: its checksum does not match; "
                "restore another snapshot; without this object, the next snapshot sends it again"
            )
        return data

    def _received(self, file: BinaryIO, start: int, data: bytes) -> None:
        file.seek(start, os.SEEK_SET)
        durable.write(file, data)
        self.transferred += len(data)
        self._bar(len(data))
