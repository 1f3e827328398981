"""The process that runs pdfium: a PDF that fills the memory, takes hours or crashes pdfium ends that process only."""

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
from typing import IO, Any, cast

from serotine.ingest.readers import pdf_pages

# A page may draw a form that draws others, and so on: a few KB are then gigabytes of objects. Beside what the process
# takes at its start; a PDF as large as 256 MiB may take more.
_MEMORY, _MEMORY_PER_BYTE = 1 << 30, 4
# Processor seconds of the pages, and more for every MiB of the file. Pages may share one content, so that many of a
# small file take seconds each; thousands of ordinary ones take less than a minute.
_SECONDS, _SECONDS_PER_MIB = 120.0, 20.0
# By the clock, for each of them: other processes may take the processor meanwhile.
_CLOCK = 4.0
_SECONDS_TO_START = 60.0
# Processes that wait for the next file; more run only while as many threads read.
_MAX_IDLE = 2
_CHECK = "check that another Python can be started here, and that memory is left"
_PROGRAM = Path(pdf_pages.__file__)
# pdfium is not thread-safe.
_PDFIUM_LOCK = threading.Lock()


def pages(data: bytes, characters: int) -> Generator[dict[str, Any], None, None]:
    """Yield the messages of `pdf_pages.read_pages` about a file; close the generator where one stops before its end.

    pdfium runs in another process, which reads the files that follow too. Where this program is not run by an
    executable of Python, as where Python is embedded, it runs here: then nothing bounds one page.
    """
    seconds = _SECONDS + _SECONDS_PER_MIB * len(data) / (1 << 20)
    if not _can_start():
        with _PDFIUM_LOCK:
            yield from pdf_pages.read_pages(data, characters, seconds)
        return
    try:
        process = _idle_process() or _Process()
    except _StartError as error:
        yield {"problem": str(error)}
        return
    try:
        yield from process.read(data, characters, seconds)
    finally:
        if process.is_idle and len(_idle) < _MAX_IDLE:
            _idle.append(process)
        else:
            process.end()


def _can_start() -> bool:
    """Return whether `sys.executable` is Python, and the program is a file that it can run."""
    is_python = Path(sys.executable or "").name.lower().startswith("python")
    return is_python and not getattr(sys, "frozen", False) and _PROGRAM.is_file()


class _StartError(Exception):
    """The process did not start; the message says why."""


class _Process:
    """A running `pdf_pages`, for one thread at a time.

    Attributes:
        is_idle: whether it waits for a file.
    """

    def __init__(self) -> None:
        self.is_idle = False
        self._has_expired = False
        # As this interpreter was started; what it imports from is sent along. Without `site`, which takes time.
        flags = ["-I"] if sys.flags.isolated else ["-E"] if sys.flags.ignore_environment else []
        command = [sys.executable, *flags, "-P", "-S", str(_PROGRAM), *map(str, sys.path)]
        # Out of reach of the terminal's Ctrl-C: this process decides.
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **group
            )
        except OSError as error:
            raise _StartError(f"the process that reads PDF did not start ({error}); {_CHECK}") from None
        self._files = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        try:
            with self._deadline(_SECONDS_TO_START):
                message = self._receive()
            if message != {"ready": True}:
                raise _StartError(f"the process that reads PDF did not start ({self._status()}); {_CHECK}")
        except BaseException:
            self.end()
            raise
        self.is_idle = True

    def read(self, data: bytes, characters: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the messages about a file; where the process ends over it, the last is the problem that it had."""
        self.is_idle = False
        memory = _MEMORY + _MEMORY_PER_BYTE * len(data)
        request = {"bytes": len(data), "memory": memory, "characters": characters, "seconds": seconds}
        begun = 0
        with self._deadline(_CLOCK * seconds):
            self._send(json.dumps(request).encode() + b"\n", data)
            while (message := self._receive()) is not None:
                if "end" in message:
                    self.is_idle = not self._has_expired
                    return
                begun += 1
                yield message
        place = f"its page {begun:,}" if begun else "it"
        status = self._status()
        if self._has_expired or status == "SIGXCPU":
            problem = f"{place} takes too long: a PDF may take {seconds:.0f} seconds of the processor"
        else:
            more = f", or takes more than {memory >> 20:,} MiB of memory" if sys.platform == "linux" else ""
            problem = f"{place} ended the process that reads PDF ({status}): it is damaged{more}"
        yield {"problem": f"{problem}; print it to a PDF again, or split it"}

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
        """End the process where the block takes longer."""
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
        """Return the next message, or None where the process has ended."""
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    def _status(self) -> str:
        """Return how the process ended, or is ended now."""
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


_idle: list[_Process] = []


def _idle_process() -> _Process | None:
    """Return a process that waits for a file, if there is one."""
    while _idle:
        try:
            process = _idle.pop()
        except IndexError:
            # Another thread was faster.
            return None
        if not process.has_ended():
            return process
        process.end()
    return None


def _end_idle() -> None:
    while (process := _idle_process()) is not None:
        process.end()


def _forget_idle() -> None:
    while _idle:
        _idle.pop().forget()


atexit.register(_end_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_idle)
