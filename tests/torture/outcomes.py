"""What an attack returns, and the process that each attempt runs in."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import random
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Processor seconds that an attempt may take, so that a busy machine makes no hangs; and what that many may be in wall
# time before a process that does nothing counts as hanging.
TIMEOUT = 60.0
# The kind of an attempt whose server or cluster did not start: the machine is too busy, and nothing was tried.
NOT_STARTED = "not started in time"
_WALL_PER_TIMEOUT = 10.0


@dataclass(frozen=True)
class Outcome:
    """One state that was tried.

    Attributes:
        kind: its class, as the table counts it.
        state: what was done, in words.
        problem: why it is unexplained; "" where the kind is allowed.
    """

    kind: str
    state: str
    problem: str = ""


class Attack:
    """A kind of attack; `attempt` tries one state, which the random generator alone determines.

    Attributes:
        name: as the command line and the table have it.
        share: of the time, beside those of the others; more where a state takes seconds.
        needs_shim: whether its system calls fail.
        log: the file that gets what libraries say of killed processes.
    """

    name: str
    share = 1.0
    needs_shim = False
    log: Path | None = None

    def __init__(self) -> None:
        shared = Path("/dev/shm")  # noqa: S108 - memory, because thousands of indexes are written
        self.folder = Path(tempfile.mkdtemp(prefix="torture-", dir=shared if shared.is_dir() else None))

    @classmethod
    def missing(cls) -> str:
        """Return what the attack needs and this machine lacks; "" if it can run."""
        return ""

    @classmethod
    def prepare(cls) -> None:
        """Build what the attack runs, before its time begins."""

    def replay(self) -> list[Outcome]:
        """Try again what earlier runs found."""
        return []

    def attempt(self, rng: random.Random) -> Outcome:
        raise NotImplementedError

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Ended:
    """How a child process ended: with a value, an exception, a signal, or not in time."""

    value: Any = None
    error: str = ""
    error_type: str = ""
    trace: str = ""
    killed: str = ""

    @property
    def crashed(self) -> bool:
        return bool(self.killed)


def isolated(function: Callable[[], Any], *, kill_after: float | None = None, timeout: float = TIMEOUT) -> Ended:
    """Call a function in a forked process; end it by SIGKILL after `kill_after` seconds.

    It hangs if it takes `timeout` seconds of the processor, or ten times as long in all.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            warnings.simplefilter("ignore")
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(timeout), math.ceil(timeout) + 1))
            with contextlib.redirect_stderr(open(os.devnull, "w")):  # noqa: PTH123 - the process ends here
                try:
                    result = Ended(value=function())
                except BaseException as error:
                    names = ",".join(kind.__name__ for kind in type(error).__mro__)
                    result = Ended(error=str(error) or names, error_type=names, trace=traceback.format_exc(limit=-6))
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(result, pipe)
        finally:
            os._exit(0)
    os.close(write)
    deadline = time.monotonic() + (timeout * _WALL_PER_TIMEOUT if kill_after is None else kill_after)
    data = b""
    ended = False
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([pipe], [], [], left)[0]:
                break
            block = pipe.read(1 << 16)
            if not block:
                ended = True
                break
            data += block
    if not ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if ended and data:
        result: Ended = pickle.loads(data)  # noqa: S301 - written by our own child
        return result
    if not ended:
        return Ended(killed="kill" if kill_after is not None else "timeout")
    return Ended(killed=signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "no result")


def run_program(command: Sequence[str], environment: Mapping[str, str], *, timeout: float) -> tuple[str, str]:
    """Run a program; return its output, and why it failed: what it wrote last.

    It hangs if it takes `timeout` seconds of the processor, or ten times as long in all.
    """
    # The shim of other attacks must not be loaded before a sanitizer.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | dict(environment)
    # Without preexec_fn: between fork and exec, nothing of this process runs that could fail in the program's name.
    program = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    with program:
        # It may have ended already.
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(program.pid, resource.RLIMIT_CPU, (math.ceil(timeout), math.ceil(timeout) + 1))
        try:
            output, messages = program.communicate(timeout=timeout * _WALL_PER_TIMEOUT)
        except subprocess.TimeoutExpired:
            program.kill()
            return "", f"no result in {timeout * _WALL_PER_TIMEOUT:.0f} seconds"
    if program.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return output, f"no result in {timeout:.0f} seconds of the processor"
    if program.returncode == 0:
        return output, ""
    ended = signal.Signals(-program.returncode).name if program.returncode < 0 else f"status {program.returncode}"
    return output, f"{(output + messages)[-3000:]}\nended by {ended}".strip()
