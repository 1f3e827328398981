"""The bytes and the UTF-8 lines of a file, gzip-compressed or not; whatever is wrong names the file and the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from serotine.errors import InputFileError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What is read as a whole is held as a whole; also the end of a small .gz that would unpack to fill the memory.
LARGEST_WHOLE = 1 << 28


def read_lines(path: Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line with its end) and never holds more than one line.

    Args:
        path: the file.
        name: what messages call it, if not by its path.

    Raises:
        InputFileError: the file cannot be read, is no gzip file although its name says so, or is not UTF-8.
    """
    label = name or str(path)
    with opened(path, label) as file:
        for number, line in enumerate(file, 1):
            yield number, _decoded(line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line, label, number)


def read_whole(path: Path, name: str) -> bytes:
    """All bytes of a file that has to be held whole; InputFileError where it is too large for that."""
    with opened(path, name) as file:
        data = file.read(LARGEST_WHOLE + 1)
    if len(data) > LARGEST_WHOLE:
        raise InputFileError(
            f"{name}: is larger than {LARGEST_WHOLE >> 20} MB, too large to be read as a whole; split it"
        )
    return data


@contextmanager
def opened(path: Path, name: str, *, unpack: bool = True) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where its name ends in .gz; what reading them raises names the file."""
    try:
        with gzip.open(path, "rb") if unpack and name.lower().endswith(".gz") else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        reason = str(error).rstrip(".")
        raise InputFileError(f"{name}: is damaged or no gzip file ({reason}); compress it again") from None
    except OSError as error:
        raise InputFileError(
            f"{name}: cannot be read ({error.strerror or error}); check the file and its access"
        ) from None


def _decoded(line: bytes, name: str, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{name}:{number}: is not UTF-8 (byte 0x{line[error.start]:02x} at column {error.start + 1}); "
            "convert the file, for example with: iconv -f ISO-8859-1 -t UTF-8"
        ) from None
