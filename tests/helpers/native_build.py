"""The C++ tests, built without Python; builds with sanitizers are kept, and shared by the tests and the attacks."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[2]
ADDRESS = "address,undefined"
MODULE = "_core"
_PYTHON = ("-DSEROTINE_PYTHON=ON", f"-DPython_EXECUTABLE={sys.executable}")
_MAX_RANDOM_BITS = 28
# Everything with sanitizers takes three minutes of two cores.
_TIMEOUT = 3600


def build(folder: Path, *options: str, targets: tuple[str, ...] = ("all",)) -> Path:
    """Configure and build the C++ tests; return the folder of the programs."""
    configure = ["cmake", "-S", str(ROOT / "native"), "-B", str(folder), "-G", "Ninja"]
    configure += ["-DSEROTINE_PYTHON=OFF", "-DSEROTINE_TESTS=ON", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--target", *targets]):
        completed = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
        assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-3000:]
    return folder / "tests"


def sanitized(sanitizers: str, *targets: str) -> Path:
    """Build programs with sanitizers, or what changed of them since the last time; return their folder."""
    folder = ROOT / "build" / f"native-{sanitizers.replace(',', '-')}"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        return build(
            folder,
            "-DCMAKE_BUILD_TYPE=None",
            "-DCMAKE_CXX_FLAGS=-O1",
            "-DSEROTINE_KERNEL_OPT=-O1",
            f"-DSEROTINE_SANITIZE={sanitizers}",
            # In the encoding of AVX-512: few processors have both that and AVX-VNNI's own.
            *(("-DSEROTINE_EVEX=ON",) if sanitizers == ADDRESS else ()),
            # The module is linked from the objects that the programs are linked from. With the same options for both:
            # other options would compile every file again.
            *(_PYTHON if sanitizers == ADDRESS and can_build_core() else ()),
            targets=targets or ("all",),
        )


def sanitized_core() -> Path:
    """Build the extension module with AddressSanitizer and UndefinedBehaviorSanitizer; return its file."""
    folder = sanitized(ADDRESS, MODULE).parent / "bindings"
    return next(folder.glob("_core*.so"))


def preloaded() -> str:
    """Return what LD_PRELOAD must be for a Python that loads this module."""
    libraries = ("libasan.so", "libstdc++.so")
    commands = (["c++", f"-print-file-name={library}"] for library in libraries)
    return ":".join(subprocess.check_output(command, text=True).strip() for command in commands)


@functools.cache
def fixed_addresses() -> list[str]:
    """Return what starts a program without randomized addresses, under which sanitizers find their memory taken."""
    command = ["setarch", "-R"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    return command if allowed else []


def can_run_sanitized() -> str:
    """Return why programs with sanitizers may crash before they start; "" if they do not.

    Those of GCC 12 do with more than 28 random bits in addresses (https://github.com/google/sanitizers/issues/1614).
    """
    try:
        bits = int(Path("/proc/sys/vm/mmap_rnd_bits").read_text())
    except OSError:
        # Not Linux, or for root only.
        return ""
    if fixed_addresses() or bits <= _MAX_RANDOM_BITS:
        return ""
    return f"needs permission for setarch -R, or vm.mmap_rnd_bits of at most {_MAX_RANDOM_BITS}"


def can_build() -> bool:
    """Return whether there is what `build` needs."""
    return all(shutil.which(program) for program in ("cmake", "ninja", "c++"))


def can_build_core() -> bool:
    """Return whether there is what `sanitized_core` needs; the shared library of AddressSanitizer is GCC's."""
    has_nanobind = importlib.util.find_spec("nanobind") is not None
    return sys.platform == "linux" and can_build() and has_nanobind and all(map(os.path.isabs, preloaded().split(":")))
