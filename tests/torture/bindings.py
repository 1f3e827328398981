"""The bindings of the core under sanitizers: malformed arrays, sizes and objects to every entry point."""

from __future__ import annotations

import random
import sys

from helpers import core_calls
from helpers.native_build import can_build_core, can_run_sanitized, fixed_addresses, preloaded, sanitized_core

from .found import Found
from .outcomes import Attack, Outcome, run_program

_CALLS = 200
_SECONDS = 120
# What a process without sanitizers answers with MemoryError, AddressSanitizer reports.
_TOO_LARGE = ("allocation-size-too-big", "out-of-memory", "out of memory")
_SANITIZERS = "allocator_may_return_null=1:detect_leaks=0:max_allocation_size_mb=2048"


class Bindings(Attack):
    """A process that makes some hundred calls; allowed are a result and an error in words."""

    name = "bindings"

    def __init__(self) -> None:
        super().__init__()
        self._core = sanitized_core()
        self._found = Found(self.name)

    @classmethod
    def missing(cls) -> str:
        if not can_build_core():
            return "needs Linux, CMake, Ninja, GCC with its sanitizers, and nanobind"
        return can_run_sanitized()

    @classmethod
    def prepare(cls) -> None:
        sanitized_core()

    def replay(self) -> list[Outcome]:
        """Repeat the calls that once failed."""
        return [self._run(*data.decode().split()) for data in self._found]

    def attempt(self, rng: random.Random) -> Outcome:
        return self._run(str(rng.getrandbits(31)), str(_CALLS))

    def _run(self, seed: str, calls: str) -> Outcome:
        # Loaded by Python alone, not by what starts it.
        start = [*fixed_addresses(), "env", f"LD_PRELOAD={preloaded()}"]
        command = [*start, sys.executable, core_calls.__file__, str(self._core), seed, calls]
        environment = {
            "ASAN_OPTIONS": _SANITIZERS,
            "UBSAN_OPTIONS": "print_stacktrace=1",
            # Python's own allocator hides what lies beyond an object.
            "PYTHONMALLOC": "malloc",
            "OPENBLAS_NUM_THREADS": "1",
        }
        _, problem = run_program(command, environment, timeout=_SECONDS)
        if problem and any(words in problem for words in _TOO_LARGE):
            return Outcome("more than there is memory", f"seed {seed}")
        if problem:
            self._found.add(f"{seed} {calls}".encode())
        return Outcome("failed" if problem else "clean", f"{calls} calls of seed {seed}", problem)
