"""Faults: one system call of a change fails, once or for good, or a write is short."""

from __future__ import annotations

import errno
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from . import shim
from .outcomes import Attack, Ended, Outcome, isolated
from .workload import CHANGES, EXPECTED, Change, Templates, checked, contents, opened

_ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EINTR": errno.EINTR, "short": shim.SHORT}


def _errors(call: str) -> list[str]:
    names = ["EIO", "ENOSPC"]
    if call in ("write", "pwrite"):
        names.append("short")
    # For good, EINTR would be retried for ever, as it must be.
    return [*names, "EINTR"] if call in ("write", "pwrite", "fsync", "open") else names


class Faults(Attack):
    """Any of the calls of a change fails; allowed are the state before and after, and never a lost acknowledgement."""

    name = "faults"
    needs_shim = True

    def __init__(self) -> None:
        super().__init__()
        (self.folder / "templates").mkdir()
        self.templates = Templates(self.folder / "templates")

    def attempt(self, rng: random.Random) -> Outcome:
        name = rng.choice(list(CHANGES))
        call = rng.choice(shim.CALLS)
        error = rng.choice(_errors(call))
        total = self._calls(name, call)
        if not total:
            call, error = "write", rng.choice(_errors("write"))
            total = self._calls(name, call)
        position = rng.randint(1, max(total, 1))
        forever = error != "EINTR" and rng.random() < 0.5
        state = f"{name}: {call} {position} of {total} fails with {error}{' for good' if forever else ''}"
        path = self._prepare(name)
        ended, fired = _run(CHANGES[name], path, call, _ERRORS[error], position, forever=forever)
        if not fired:
            return Outcome("not reached", state)
        return judged(CHANGES[name], name, path, self.templates.contents, ended, state)

    @cache  # noqa: B019 - one instance for the whole run
    def _calls(self, name: str, call: str) -> int:
        path = self._prepare(name)
        ended = isolated(lambda: _armed(CHANGES[name], path, call, errno.EIO, 0, forever=False))
        assert ended.value is not None, ended
        return int(ended.value[1])

    def _prepare(self, name: str) -> Path:
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        self.templates.copy(CHANGES[name].template, work / "x")
        if name == "restore":
            self.templates.copy("grown", work / "source")
        return work / "x"


def _armed(change: Change, path: Path, call: str, error: int, position: int, *, forever: bool) -> tuple[str, int, int]:
    control = shim.functions()
    control.torture_arm(str(path.parent).encode(), shim.CALLS.index(call), error, position, int(forever))
    result = ""
    try:
        change.apply(path)
    except EXPECTED as raised:
        result = f"{type(raised).__name__}: {raised}"
    fired = control.torture_fired()
    return result, control.torture_count(), fired


def _run(change: Change, path: Path, call: str, error: int, position: int, *, forever: bool) -> tuple[Ended, bool]:
    ended = isolated(lambda: _armed(change, path, call, error, position, forever=forever))
    return ended, ended.value is None or bool(ended.value[2])


def judged(
    change: Change, name: str, path: Path, templates: dict[str, dict[str, Any]], ended: Ended, state: str
) -> Outcome:
    """Compare what is on disk after an interrupted change with the state before it and after it."""
    killed = ended.killed == "kill"
    if ended.value is None and not killed:
        return Outcome("crash", state, ended.killed or ended.trace)
    acknowledged = not killed and ended.value[0] == ""
    before = templates.get(change.template, {})
    if name == "restore":
        before, after = templates["small"], templates["grown"]
    else:
        after = change.after(before)
    found = isolated(lambda: _state_of(name, path))
    if found.value is None:
        return Outcome("damaged", state, found.killed or found.trace)
    if found.value == "absent":
        if change.template or acknowledged:
            return Outcome("lost", state, "the index is gone")
        return Outcome("refused, nothing changed", state)
    if acknowledged:
        return Outcome("done", state, "" if found.value == after else "an acknowledged change is not there")
    if found.value == after and after != before:
        return Outcome("interrupted, wholly there", state)
    return Outcome("refused, nothing changed", state, "" if found.value == before else f"in between: {found.value}")


def _state_of(name: str, path: Path) -> Any:
    copy = path.with_name("copy")
    if name.startswith("snapshot") and copy.exists():
        with opened(path, read_only=True) as index:
            documents = contents(index)
        assert checked(copy) == documents, "a snapshot differs from its index"
    if not path.exists():
        return "absent"
    return checked(path)
