"""The native code under sanitizers: codec and search of random shapes, from several threads, beside plain loops."""

from __future__ import annotations

import random

from helpers.native_build import can_build, can_run_sanitized, fixed_addresses, sanitized

from .found import Found
from .outcomes import Attack, Outcome, run_program

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
        return can_run_sanitized() if can_build() else "needs CMake, Ninja and a C++ compiler"

    @classmethod
    def prepare(cls) -> None:
        for kind, programs in _PROGRAMS.items():
            sanitized(kind, *programs)

    def replay(self) -> list[Outcome]:
        """Run the seeds that once failed."""
        return [self._run(*data.decode().split()) for data in self._found]

    def attempt(self, rng: random.Random) -> Outcome:
        kind = rng.choice(sorted(_PROGRAMS))
        return self._run(kind, rng.choice(_PROGRAMS[kind]), str(rng.getrandbits(31)))

    def _run(self, kind: str, program: str, seed: str) -> Outcome:
        state = f"{program} {seed} with {kind}"
        _, problem = run_program([*fixed_addresses(), str(self._folders[kind] / program), seed], {}, timeout=_SECONDS)
        if problem:
            self._found.add(f"{kind} {program} {seed}".encode())
        return Outcome(f"{kind}: {'failed' if problem else 'clean'}", state, problem)
