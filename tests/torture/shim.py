"""The shim of system calls: compiled on first use, loaded with LD_PRELOAD into this process."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
# In the order of the C enum.
CALLS = ("write", "pwrite", "fsync", "ftruncate", "mmap", "rename", "unlink", "open", "link", "mkdir")
SHORT = -1


def available() -> bool:
    """Return whether the shim is loaded in this process."""
    return str(library()) in os.environ.get("LD_PRELOAD", "")


def library() -> Path:
    """Return the path of the compiled shim."""
    key = hashlib.blake2b(SOURCE.read_bytes(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"serotine-torture-{os.getuid()}-{key}.so"


def compile_shim() -> bool:
    """Compile the shim unless it exists; return whether there is one."""
    target = library()
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if os.name != "posix" or os.uname().sysname != "Linux" or compiler is None:
        return False
    if not target.exists():
        temporary = target.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [compiler, "-O1", "-w", "-shared", "-fPIC", "-o", temporary, SOURCE, "-ldl"],
            check=True,
            capture_output=True,
        )
        temporary.replace(target)
    return True


def functions() -> ctypes.CDLL:
    """Return the control functions of the loaded shim."""
    return ctypes.CDLL(str(library()))
