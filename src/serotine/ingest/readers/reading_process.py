"""Processes that read files: one that fills the memory, takes hours or crashes its reader ends that process only."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from serotine.ingest.readers import reading_program

# By the clock, for each second of the processor: other processes may take it meanwhile.
_CLOCK = 4.0
_SECONDS_TO_START = 60.0
# Processes of one kind that wait for the next file; more run only while as many threads read.
_MAX_IDLE = 2
# How a process ends that is beyond its limits of time or memory, or crashes.
_OF_FILE = ("SIGXCPU", "SIGSEGV", "SIGABRT", "SIGBUS", "exit status 1")
_PROGRAM = Path(reading_program.__file__)


def _can_start() -> bool:
    """Return whether `sys.executable` is Python, and the program is a file that it can run."""
    is_python = Path(sys.executable or "").name.lower().startswith("python")
    return is_python and not getattr(sys, "frozen", False) and _PROGRAM.is_file()


class StartError(Exception):
    """A process did not start; the message says why."""


class EndedError(Exception):
    """A process ended over a file.

    Attributes:
        status: how it ended, "SIGSEGV" for example.
        is_late: whether it took too long.
    """

    def __init__(self, status: str, *, is_late: bool) -> None:
        super().__init__(status)
        self.status = status
        self.is_late = is_late

    @property
    def is_of_file(self) -> bool:
        """Whether it ended because of what it read: beyond a limit, or by a crash."""
        return self.status in _OF_FILE


class ReadingProcesses:
    """The processes that run one module of `reading_program`.

    Where this program is not run by an executable of Python, as where Python is embedded, the module runs here: then
    nothing bounds it.

    Args:
        kind: what they read, as messages name it: "PDF".
        module: with `prepare` and `read`.
    """

    def __init__(self, kind: str, module: ModuleType) -> None:
        self._kind = kind
        self._module = module
        # Neither pdfium nor a parser may be used by two threads.
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        atexit.register(self.end_idle)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_idle)

    def read(
        self, data: bytes, arguments: dict[str, Any], *, memory: int, seconds: float
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the messages about a file; close the generator where one stops before its end.

        Args:
            data: the file.
            arguments: of the module's `read`, beside the file; of JSON.
            memory: bytes that it may take beside what the process takes at its start; only Linux enforces it.
            seconds: that it may take of the processor.

        Raises:
            EndedError: the process ended over this file.
            StartError: no process starts.
        """
        if not _can_start():
            with self._lock:
                yield from self._module.read(data, **arguments)
            return
        process = self._idle_process() or _Process(self._kind, Path(str(self._module.__file__)))
        try:
            yield from process.read(data, arguments, memory, seconds)
        finally:
            if process.is_idle and len(self._idle) < _MAX_IDLE:
                self._idle.append(process)
            else:
                process.end()

    def end_idle(self) -> None:
        """End the processes that wait for a file."""
        while (process := self._idle_process()) is not None:
            process.end()

    def _idle_process(self) -> _Process | None:
        """Return a process that waits for a file, if there is one."""
        while self._idle:
            try:
                process = self._idle.pop()
            except IndexError:
                # Another thread was faster.
                return None
            if not process.has_ended():
                return process
            process.end()
        return None

    def _forget_idle(self) -> None:
        while self._idle:
            self._idle.pop().forget()


class _Process:
    """A running program, for one thread at a time.

    Attributes:
        is_idle: whether it waits for a file.
    """

    def __init__(self, kind: str, module: Path) -> None:
        self.is_idle = False
        self._has_expired = False
        # As this interpreter was started; what it imports from is sent along. Without `site`, which takes time.
        flags = ["-I"] if sys.flags.isolated else ["-E"] if sys.flags.ignore_environment else []
        command = [sys.executable, *flags, "-P", "-S", str(_PROGRAM), str(module), *map(str, sys.path)]
        # In a session of its own, so that the terminal's Ctrl-C does not reach it.
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **group
            )
        except (OSError, ValueError) as error:
            # ValueError: a path with a NUL.
            raise _not_started(kind, str(error)) from None
        self._files = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        try:
            with self._deadline(_SECONDS_TO_START):
                message = self._receive()
            if message != {"ready": True}:
                raise _not_started(kind, self._status())
        except BaseException:
            self.end()
            raise
        self.is_idle = True

    def read(self, data: bytes, arguments: dict[str, Any], memory: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the messages about a file; raise EndedError where the process ends over it."""
        self.is_idle = False
        request = {"bytes": len(data), "memory": memory, "seconds": seconds, "arguments": arguments}
        with self._deadline(_CLOCK * seconds):
            self._send(json.dumps(request).encode() + b"\n", data)
            while (message := self._receive()) is not None:
                if "end" in message:
                    self.is_idle = not self._has_expired
                    return
                yield message
        status = self._status()
        raise EndedError(status, is_late=self._has_expired or status == "SIGXCPU")

    def end(self) -> None:
        """End the process at once."""
        self.is_idle = False
        self._process.kill()
        self._close()
        self._process.wait()

    def has_ended(self) -> bool:
        """Return whether the process ended by itself, or was ended by another."""
        return self._process.poll() is not None

    def forget(self) -> None:
        """Leave the process to that from which this one was forked."""
        self._close()
        # It is no child of this process, which cannot wait for it.
        self._process.returncode = 0

    @contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        """Kill the process if the block takes longer."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._has_expired = True
        self._process.kill()

    def _send(self, *pieces: bytes) -> None:
        """Send bytes; `_receive` finds out where the process has ended."""
        with suppress(OSError):
            for piece in pieces:
                self._files.write(piece)
            self._files.flush()

    def _receive(self) -> dict[str, Any] | None:
        """Return the next message, or None where the process has ended, or writes something else."""
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            return None
        try:
            message: dict[str, Any] = json.loads(line)
        except ValueError:
            return None
        return message

    def _status(self) -> str:
        """Return how the process ended."""
        try:
            # It closes its answers a moment before it is gone.
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "no answer"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"exit status {code}"

    def _close(self) -> None:
        for pipe in (self._files, self._answers):
            with suppress(OSError):
                pipe.close()


def _not_started(kind: str, reason: str) -> StartError:
    return StartError(
        f"the process that reads {kind} did not start ({reason}); "
        "check that another Python can be started here, and that memory is left"
    )
