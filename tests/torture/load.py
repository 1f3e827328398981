"""Load: a server under readers, writers and slow clients, ended in the middle: nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from serotine import Index
from serotine.errors import IndexDamagedError, ServerError

from .outcomes import NOT_STARTED, Attack, Outcome
from .process_kills import UploadKills

_SECONDS = (4.0, 10.0)
_MAX_SECONDS = 120.0
_IDLE_CONNECTIONS = 200
# One session in eight is a soak.
_SOAKS = 1 / 8
_SOAK_SECONDS = 60.0
# What the last third of a session may have at most: so many times as much as the first, and some more for what the
# first searches and merges load, for connections that open, and for a machine that is busy.
_MAX_GROWTH = 1.5
_MORE = {"bytes of memory": 128 << 20, "descriptors": 20, "bytes of WAL": 16 << 20, "seconds of a search (p99)": 1.0}
_MAX_WAL = 64 << 20


class Load(Attack):
    """One session with a server process; its end is SIGTERM, SIGKILL, or a killed worker and then SIGTERM."""

    name = "load"
    share = 3.0

    @classmethod
    def missing(cls) -> str:
        return UploadKills.missing()

    def attempt(self, rng: random.Random) -> Outcome:
        from helpers.serving_cases import Server, create_vector_index

        workers, ending = rng.choice((1, 1, 4)), rng.choice(("SIGTERM", "SIGKILL", "killed worker"))
        seconds = _SOAK_SECONDS if rng.random() < _SOAKS else rng.uniform(*_SECONDS)
        state = f"{workers} workers, {seconds:.1f} s, ended by {ending}"
        path = self.folder / "i.serotine"
        shutil.rmtree(path, ignore_errors=True)
        create_vector_index(path, 50)
        try:
            server = Server(path, "--workers", workers)
        except TimeoutError as error:
            return Outcome(NOT_STARTED, f"{state}: {error}")
        session = _Session(server)
        try:
            session.start()
            problem = session.watch(path, seconds, killing=ending == "killed worker" and workers > 1)
        finally:
            status = server.kill() if ending == "SIGKILL" else server.stop()
            session.join()
        if not problem and ending != "SIGKILL" and status not in (0, -signal.SIGTERM):
            problem = f"the server ended with status {status}: {server.log()[-500:]}"
        return Outcome(ending, state, problem or self._lost(path, session))

    def _lost(self, path: Path, session: _Session) -> str:
        deadline = time.monotonic() + 30
        while True:
            try:
                with Index.open(path) as index:
                    index.verify()
                    stored = set(index.ids())
                break
            except IndexDamagedError as error:
                return str(error)
            except Exception as error:
                if time.monotonic() > deadline:
                    return str(error)
                time.sleep(0.1)
        lost = session.acknowledged - session.deleted - stored
        more = stored - session.sent - {f"v{i}" for i in range(50)}
        return f"lost {sorted(lost)[:5]}, never sent {sorted(more)[:5]}" if lost or more else ""


class _Session:
    def __init__(self, server: Any) -> None:
        self.server = server
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.deleted: set[str] = set()
        self.latencies: list[tuple[float, float]] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(i,)) for i in range(2)]
        self.threads += [threading.Thread(target=self._read, args=(i,)) for i in range(2)]
        self.threads.append(threading.Thread(target=self._dawdle))
        self.threads.append(threading.Thread(target=self._crowd))

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _write(self, thread: int) -> None:
        from helpers.serving_cases import vectors

        client = self.server.client("i", timeout=10)
        number = 0
        while not self.ended.is_set():
            ids = [f"{thread}-{number}-{i}" for i in range(8)]
            self.sent.update(ids)
            with contextlib.suppress(ServerError):
                client.add(ids, vectors=vectors(8, number))
                self.acknowledged.update(ids)
                if number % 3 == 2:
                    # Recorded first: a deletion that is not acknowledged may be committed or not.
                    self.deleted.add(ids[0])
                    client.delete([ids[0]])
                if number % 10 == 9:
                    client.compact()
            number += 1

    def _read(self, thread: int) -> None:
        from helpers.serving_cases import vectors

        client = self.server.client("i", timeout=10)
        while not self.ended.is_set():
            started = time.monotonic()
            with contextlib.suppress(ServerError):
                client.search(vectors(1, thread)[0], k=5)
                self.latencies.append((started, time.monotonic() - started))

    def _dawdle(self) -> None:
        """Send a request a byte at a time."""
        while not self.ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server.port), 2) as slow:
                for byte in b"POST /v1/indexes/i/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{":
                    slow.send(bytes([byte]))
                    if self.ended.wait(0.05):
                        return

    def _crowd(self) -> None:
        """Open 200 connections, and send nothing."""
        with contextlib.ExitStack() as connections:
            for _ in range(_IDLE_CONNECTIONS):
                with contextlib.suppress(OSError):
                    connections.enter_context(socket.create_connection(("127.0.0.1", self.server.port), 2))
            self.ended.wait()

    def watch(self, path: Path, seconds: float, *, killing: bool) -> str:
        """Let the session run; return what did not stay flat."""
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in _MORE}
        measured["seconds of a search (p99)"] = self.latencies
        started = time.monotonic()
        deadline = started + seconds
        middle = time.monotonic() + seconds / 2
        # On a busy machine, until both kinds of requests were answered at all.
        last = time.monotonic() + _MAX_SECONDS
        while time.monotonic() < (deadline if self.acknowledged and self.latencies else last):
            if killing and time.monotonic() > middle:
                killing = False
                if workers := _workers(self.server.process.pid):
                    os.kill(workers[0], signal.SIGKILL)
            now = time.monotonic()
            resident, descriptors = _resources(self.server.process.pid)
            measured["bytes of memory"].append((now, resident))
            measured["descriptors"].append((now, descriptors))
            with contextlib.suppress(FileNotFoundError):
                measured["bytes of WAL"].append((now, (path / "catalog.sqlite-wal").stat().st_size))
            if self.ended.wait(0.1):
                break
        problems = [grown(name, list(values), started, time.monotonic()) for name, values in measured.items()]
        wal = max((size for _, size in measured["bytes of WAL"]), default=0)
        if wal > _MAX_WAL:
            problems.append(f"the WAL grew to {wal:,} bytes")
        if any(problems):
            return "; ".join(filter(None, problems))
        if not self.acknowledged or not self.latencies:
            return f"nothing was answered in {seconds:.1f} s"
        return ""


def grown(name: str, values: list[tuple[float, float]], start: float, end: float) -> str:
    """Return in words that the last third of (time, value) is far above the first; "" where either has no values."""
    third = (end - start) / 3
    first = [value for at, value in values if at < start + third]
    last = [value for at, value in values if at >= end - third]
    if not first or not last:
        return ""
    # Rarer than one in a hundred does not count: a search that waited for the machine.
    before, after = (sorted(part)[int(0.99 * (len(part) - 1))] for part in (first, last))
    limit = _MAX_GROWTH * before + _MORE[name]
    return f"{name} grew from {before:,.2f} to {after:,.2f}, beyond {limit:,.2f}" if after > limit else ""


def _workers(pid: int) -> list[int]:
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in map(int, pids) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _resources(pid: int) -> tuple[float, int]:
    """Return the resident bytes and the open descriptors of a server and its workers."""
    resident, descriptors = 0.0, 0
    for process in (pid, *_workers(pid)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            resident += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            descriptors += len(list(Path(f"/proc/{process}/fd").iterdir()))
    return resident, descriptors
