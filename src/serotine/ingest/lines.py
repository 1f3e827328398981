"""The bytes and the UTF-8 lines of a file, gzip-compressed or not; every error names the file and the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from serotine.errors import InputFileError, reason

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Files that are read whole are held in memory; also the limit for a small .gz that would unpack to fill it.
_MAX_WHOLE = 1 << 28


def read_lines(path: Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its end), holding one line at a time.

    Args:
        path: the file.
        name: its name in messages; None: its path.

    Raises:
        InputFileError: the file cannot be read, is not gzip-compressed although its name ends in .gz, or is not UTF-8.
    """
    label = name or str(path)
    for number, line in read_raw_lines(path, label):
        yield number, decode_line(line, label, number)


def read_raw_lines(path: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, bytes of the line with its end), without a byte order mark; arguments as above."""
    with open_file(path, name) as file:
        for number, line in enumerate(file, 1):
            yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line


def read_whole(path: Path, name: str) -> bytes:
    """Return all bytes of a file; InputFileError where it is larger than 256 MB."""
    with open_file(path, name) as file:
        data = file.read(_MAX_WHOLE + 1)
    if len(data) > _MAX_WHOLE:
        raise InputFileError(f"{name}: larger than {_MAX_WHOLE >> 20} MB, the limit for files of this kind; split it")
    return data


@contextmanager
def open_file(path: Path, name: str, *, unpack: bool = True) -> Iterator[BinaryIO]:
    """Open a file for its bytes, unpacked if its name ends in .gz; errors while reading name the file.

    Raises:
        InputFileError: the file cannot be read, or is not gzip-compressed although its name ends in .gz.
    """
    try:
        with gzip.open(path, "rb") if unpack and name.lower().endswith(".gz") else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputFileError(
            f"{name}: damaged, or not a gzip file ({reason(error).rstrip('.')}); compress it again"
        ) from None
    except OSError as error:
        raise InputFileError(f"{name}: cannot be read ({error.strerror or error}); check the file") from None


def decode_line(line: bytes, name: str, number: int) -> str:
    """Return a line as text; InputFileError where it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{name}:{number}: not UTF-8 (byte 0x{line[error.start]:02x} at column {error.start + 1}); "
            "convert the file, for example with: iconv -f ISO-8859-1 -t UTF-8"
        ) from None
