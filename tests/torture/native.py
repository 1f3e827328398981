"""The native code under sanitizers: codec and search of random shapes, from several threads, beside plain loops."""

from __future__ import annotations

import os
import random
import subprocess

from helpers.native_build import can_build, sanitized

from .found import Found
from .outcomes import Attack, Outcome

# What each build runs; ThreadSanitizer and AddressSanitizer exclude each other.
_PROGRAMS = {"address,undefined": ("search_test",), "thread": ("search_test", "thread_pool_test")}
_SECONDS = 300


class Native(Attack):
    """One program under one kind of sanitizers; the seed chooses shapes, instruction set and threads."""

    name = "native"

    def __init__(self) -> None:
        super().__init__()
        self._folders = {kind: sanitized(kind, *programs) for kind, programs in _PROGRAMS.items()}
        self._found = Found(self.name)

    @classmethod
    def missing(cls) -> str:
        return "" if can_build() else "needs CMake, Ninja and a C++ compiler"

    def replay(self) -> list[Outcome]:
        """Run the seeds that once failed."""
        return [self._run(*data.decode().split()) for data in self._found]

    def attempt(self, rng: random.Random) -> Outcome:
        kind = rng.choice(sorted(_PROGRAMS))
        return self._run(kind, rng.choice(_PROGRAMS[kind]), str(rng.getrandbits(31)))

    def _run(self, kind: str, program: str, seed: str) -> Outcome:
        # The shim of other attacks must not be loaded before a sanitizer.
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        command = [str(self._folders[kind] / program), seed]
        state = f"{program} {seed} with {kind}"
        try:
            run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            problem = f"no result in {_SECONDS} seconds"
        else:
            problem = "" if run.returncode == 0 else (run.stdout + run.stderr)[-3000:] or f"status {run.returncode}"
        if problem:
            self._found.add(f"{kind} {program} {seed}".encode())
        return Outcome(f"{kind}: {'failed' if problem else 'clean'}", state, problem)
