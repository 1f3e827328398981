"""The program of a process that reads files for another one; run as a program.

Its first argument is the file of the module that reads, the others are `sys.path`. That module imports nothing of
Serotine, so that the program starts fast and takes little memory. It has `prepare()`, which imports what it needs, and
`read(data, **arguments)`, which yields messages. `reading_process` starts the program.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

if sys.platform != "win32":
    import resource


def main() -> None:
    """Read the files that come from standard input, until it ends.

    A file is a line of JSON, with "bytes", "memory", "seconds" and "arguments", and then its bytes. The answer is a
    line of JSON for each message, and {"end": true} after them. The first line, {"ready": true}, answers no file.
    """
    path, *sys.path[:] = sys.argv[1:]
    # A service is stopped by a signal to all its processes; its parent may still wait for the file.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        answers.flush()

    try:
        reader = _loaded(Path(path))
        reader.prepare()
        limits = _Limits()
        requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
        threading.Thread(target=_receive, args=(requests,), daemon=True).start()
        answer({"ready": True})
        while True:
            request, data = requests.get()
            limits.apply(request["memory"], request["seconds"])
            try:
                for message in reader.read(data, **request["arguments"]):
                    answer(message)
            except (MemoryError, OSError):
                raise
            except Exception as error:
                answer({"problem": f"damaged ({type(error).__name__}); write it again"})
            del data
            limits.lift()
            answer({"end": True})
    finally:
        # Without what Python does at its end, which would wait for the thread that receives.
        os._exit(1)


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: not a module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _receive(requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    """Put files into a queue; end the process as soon as nobody can send another, also in the middle of a file."""
    try:
        with open(0, "rb", closefd=False) as source:
            while line := source.readline():
                request = json.loads(line)
                data = source.read(request["bytes"])
                if len(data) < request["bytes"]:
                    break
                requests.put((request, data))
                del data
    finally:
        os._exit(0)


class _Limits:
    """The limits that the operating system enforces: memory on Linux, processor time wherever it is not Windows."""

    def __init__(self) -> None:
        if sys.platform == "win32":
            return
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self._inherited = resource.getrlimit(resource.RLIMIT_AS)
        statm = Path("/proc/self/statm")
        # Elsewhere the addresses of a process say little about its memory.
        self._base = int(statm.read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else None

    def apply(self, memory: int, seconds: float) -> None:
        """End this process where it takes more bytes than it did at its start, or more seconds from now on."""
        if sys.platform == "win32":
            return
        # Later than a reader that counts its seconds, so that its message comes first.
        most = math.ceil(time.process_time() + seconds) + 1
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (_least(most, hard), hard))
        if self._base is not None:
            soft, hard = self._inherited
            resource.setrlimit(resource.RLIMIT_AS, (_least(self._base + memory, soft), hard))

    def lift(self) -> None:
        """Let a file of any size be received."""
        if sys.platform != "win32" and self._base is not None:
            resource.setrlimit(resource.RLIMIT_AS, self._inherited)


def _least(limit: int, inherited: int) -> int:
    return limit if sys.platform == "win32" or inherited == resource.RLIM_INFINITY else min(limit, inherited)


if __name__ == "__main__":
    main()
