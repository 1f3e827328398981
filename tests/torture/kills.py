"""kill -9 at a random moment of a change."""

from __future__ import annotations

import random
import shutil
import time

from .faults import judged
from .outcomes import Attack, Outcome, isolated
from .workload import CHANGES, Templates


class Kills(Attack):
    """A process ends by SIGKILL in the middle of a change; allowed are the state before and after."""

    name = "kills"

    def __init__(self) -> None:
        super().__init__()
        (self.folder / "templates").mkdir()
        self.templates = Templates(self.folder / "templates")
        self.seconds: dict[str, float] = {}

    def attempt(self, rng: random.Random) -> Outcome:
        name = rng.choice(list(CHANGES))
        path = self.folder / "work" / "x"
        fraction = rng.uniform(0.0, 1.1)
        if name not in self.seconds:
            started = time.monotonic()
            self._run(name, 60.0)
            self.seconds[name] = time.monotonic() - started
        ended = self._run(name, fraction * self.seconds[name])
        state = f"{name}: killed after {fraction:.2f} of {self.seconds[name] * 1e3:.0f} ms"
        return judged(CHANGES[name], name, path, self.templates.contents, ended, state)

    def _run(self, name: str, seconds: float) -> object:
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        self.templates.copy(CHANGES[name].template, work / "x")
        if name == "restore":
            self.templates.copy("grown", work / "source")

        def change() -> tuple[str, int]:
            CHANGES[name].apply(work / "x")
            return "", 0

        return isolated(change, kill_after=seconds)
