"""Lines of a UTF-8 file, gzip-compressed or not; whatever is wrong names the file and the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serotine.errors import InputFileError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line with its end) and never holds more than one line.

    Raises:
        InputFileError: the file cannot be read, is no gzip file although its name says so, or is not UTF-8.
    """
    with _naming(path), gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield number, _decoded(line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line, path, number)


def read_whole(path: Path) -> str:
    """A file that is one document."""
    return "".join(line for _, line in read_lines(path))


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{path}:{number}: is not UTF-8 (byte 0x{line[error.start]:02x} at column {error.start + 1}); "
            "convert the file, for example with: iconv -f ISO-8859-1 -t UTF-8"
        ) from None


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        reason = str(error).rstrip(".")
        raise InputFileError(f"{path}: is damaged or no gzip file ({reason}); compress it again") from None
    except OSError as error:
        raise InputFileError(
            f"{path}: cannot be read ({error.strerror or error}); check the file and its access"
        ) from None
