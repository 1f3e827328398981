"""The bytes and the UTF-8 lines of a file, gzip-compressed or not; every error names the file and the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from serotine.errors import InputFileError, reason
from serotine.ingest.limits import reading_limits, size, split_advice

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20


def read_raw_lines(path: Path, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, bytes of the line with its end), without a byte order mark; arguments as above.

    Of a line longer than `ReadingLimits.record_bytes` a little more than that is returned; `decode_line` refuses it.
    """
    with open_file(path, name) as file:
        for number, line in enumerate(limited_lines(file, name), 1):
            yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line


def limited_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the lines of a file; of one longer than `ReadingLimits.record_bytes` one byte more than that.

    Raises:
        InputFileError: the file unpacks to more than `ReadingLimits.unpacked_bytes`.
    """
    limits = reading_limits()
    unpacked = 0
    while line := file.readline(limits.record_bytes + 1):
        unpacked += len(line)
        yield line
        if len(line) > limits.record_bytes and not line.endswith(b"\n"):
            while rest := file.readline(_CHUNK):
                unpacked += len(rest)
                if rest.endswith(b"\n"):
                    break
                check_unpacked(unpacked, limits.unpacked_bytes, name)
        check_unpacked(unpacked, limits.unpacked_bytes, name)


def check_unpacked(unpacked: int, limit: int, name: str) -> None:
    """Raise InputFileError for a compressed file that unpacks to more bytes than `limit`."""
    # A file that is not compressed is as large as it is.
    if unpacked > limit and name.lower().endswith(".gz"):
        raise InputFileError(f"{name}: unpacks to more than {size(limit)}; split it, or index it unpacked")


def read_whole(path: Path, name: str, limit: int | None = None) -> bytes:
    """Return all bytes of a file; InputFileError where there are more than `limit`, or `ReadingLimits.file_bytes`."""
    most = reading_limits().file_bytes if limit is None else limit
    pieces: list[bytes] = []
    length = 0
    with open_file(path, name) as file:
        # A file object allocates what it is asked for, however little there is.
        while length <= most and (piece := file.read(min(_CHUNK, most + 1 - length))):
            pieces.append(piece)
            length += len(piece)
    if length > most:
        fix = "split it" if limit is None else split_advice("record_bytes", "--max-record-size")
        raise InputFileError(f"{name}: must be at most {size(most)}, as all files of this kind; {fix}")
    return b"".join(pieces)


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
