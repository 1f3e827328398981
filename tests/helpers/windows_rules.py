"""The rules of Windows' files on Linux, for the rest of a process: call `apply` before `serotine` is imported.

An open or mapped file, also of a reader, cannot be removed, renamed or replaced, nor the folder above it renamed;
folders are not opened; a file that is not open for writing is not fsynced; a rename replaces no folder; names have none
of ``<>:"|?*``; ``os.write`` without O_BINARY writes CR LF for LF; and most of what POSIX alone has is missing.
What is open is read from /proc, so files of SQLite and mappings of NumPy count. Paths stay POSIX paths.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

MISSING = (
    (os, "fork forkpty register_at_fork getuid geteuid getgid getegid setsid killpg mkfifo mknod sysconf uname"),
    (os, "sched_getaffinity posix_fadvise pread pwrite chown fchmod O_DIRECTORY"),
    (signal, "SIGHUP SIGKILL SIGUSR1 pthread_sigmask setitimer"),
)
_FORBIDDEN = set('<>:"|?*')
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(1, 10))}
_O_BINARY = 1 << 28
_text_descriptors: set[int] = set()


def apply() -> None:
    """Apply the rules."""
    for module, names in MISSING:
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    # Libraries that were imported before keep it.
    sys.modules["fcntl"] = None  # type: ignore[assignment]
    os.O_BINARY = _O_BINARY  # type: ignore[attr-defined]
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile
    # As on Windows: by names, not by descriptors of folders.
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    shutil.rmtree.avoids_symlink_attacks = False  # type: ignore[attr-defined]
    os.open = _opening(os.open)
    os.write = _writing(os.write)
    os.close = _closing(os.close)
    os.fsync = _syncing(os.fsync)
    os.unlink = os.remove = _removing(os.unlink)
    os.rename = _renaming(os.rename, replaces=False)
    os.replace = _renaming(os.replace, replaces=True)
    os.mkdir = _creating(os.mkdir)
    os.symlink = _refusing_links
    builtins.open = io.open = _opening_files(io.open)


def in_use(path: str | os.PathLike[str]) -> bool:
    """Return whether this process has the file, or anything in the folder, open or mapped."""
    wanted = os.path.realpath(path)
    # The descriptor of the listing itself is closed meanwhile.
    used = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    with _open("/proc/self/maps") as maps:
        used |= {line.rstrip("\n").split(maxsplit=5)[5] for line in maps if line.count("/") and len(line.split()) > 5}
    return any(name == wanted or name.startswith(f"{wanted}/") for name in used)


_open: Callable[..., Any] = io.open


def _sharing(path: Any) -> PermissionError:
    return PermissionError(errno.EACCES, "The process cannot access the file because it is being used", str(path))


def _check_name(path: Any) -> None:
    name = Path(os.fspath(path)).name if not isinstance(path, int) else ""
    if set(name) & _FORBIDDEN or name.endswith((".", " ")) or name.split(".")[0].lower() in _RESERVED:
        raise OSError(errno.EINVAL, "The filename, directory name, or volume label syntax is incorrect", str(path))


def _opening(function: Callable[..., int]) -> Callable[..., int]:
    def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        assert dir_fd is None, "Windows has no dir_fd"
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        if flags & os.O_CREAT:
            _check_name(path)
        descriptor = function(path, flags & ~_O_BINARY, mode)
        # Files of Python's own are opened with this flag, and in binary.
        if not flags & (_O_BINARY | os.O_CLOEXEC):
            _text_descriptors.add(descriptor)
        return descriptor

    return opened


def _opening_files(function: Callable[..., Any]) -> Callable[..., Any]:
    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not isinstance(file, int) and set(mode) & set("wax"):
            _check_name(file)
        return function(file, mode, *arguments, **options)

    return opened


def _writing(function: Callable[..., int]) -> Callable[..., int]:
    def written(descriptor: int, data: Any) -> int:
        if descriptor in _text_descriptors:
            data = bytes(data).replace(b"\n", b"\r\n")
        return function(descriptor, data)

    return written


def _closing(function: Callable[[int], None]) -> Callable[[int], None]:
    def closed(descriptor: int) -> None:
        _text_descriptors.discard(descriptor)
        function(descriptor)

    return closed


def _syncing(function: Callable[[int], None]) -> Callable[[int], None]:
    def synced(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        function(descriptor)

    return synced


def _removing(function: Callable[..., None]) -> Callable[..., None]:
    def removed(path: Any, *, dir_fd: int | None = None) -> None:
        assert dir_fd is None, "Windows has no dir_fd"
        # filelock's way of asking POSIX file systems whether they have locks.
        if in_use(path) and ".filelock-probe" not in str(path):
            raise _sharing(path)
        function(path)

    return removed


def _renaming(function: Callable[..., None], *, replaces: bool) -> Callable[..., None]:
    def renamed(source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        assert src_dir_fd is None
        assert dst_dir_fd is None
        _check_name(target)
        if in_use(source):
            raise _sharing(source)
        if os.path.lexists(target):
            if not replaces:
                raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(target))
            if stat.S_ISDIR(Path(target).stat().st_mode) or in_use(target):
                raise _sharing(target)
        function(source, target)

    return renamed


def _creating(function: Callable[..., None]) -> Callable[..., None]:
    def created(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        assert dir_fd is None
        _check_name(path)
        function(path, mode)

    return created


def _refusing_links(source: Any, target: Any, target_is_directory: bool = False, **_: Any) -> None:
    raise OSError(errno.EPERM, "A required privilege is not held by the client", str(target))
