"""The WAL as a process reads it that opens the index now: up to the first frame whose checksum is wrong.

A connection that is open trusts the frames that it has seen once, and reads a WAL that was removed. Only this file is
read here: opening the others would release SQLite's locks. The layout: https://sqlite.org/walformat.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from serotine.files import open_regular

_HEADER, _FRAME_HEADER = 32, 24
# The last bit says that checksums are over big-endian words.
_MAGIC = 0x377F0682
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))
_BYTES_PER_READ = 1 << 20
_MASK = (1 << 32) - 1
_Sums = tuple[int, int]


def frames(catalog: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield every valid page of the WAL, and whether it is the last one of a transaction."""
    try:
        with open_regular(catalog.with_name(f"{catalog.name}-wal"), follow=False) as file:
            yield from _frames(file)
    except OSError:
        return


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    header = file.read(_HEADER)
    if len(header) < _HEADER:
        return
    magic, _, page_size = struct.unpack(">3I", header[:12])
    if magic & ~1 != _MAGIC or page_size not in _PAGE_SIZES:
        return
    words = np.dtype(">u4" if magic & 1 else "<u4")
    salt = header[16:24]
    sums = _advanced((0, 0), 3, _linear_part(np.frombuffer(header[:24], words)[None])[0])
    if sums != struct.unpack(">2I", header[24:]):
        return
    size, pairs = _FRAME_HEADER + page_size, (page_size + 8) // 8
    while block := file.read(size * max(1, _BYTES_PER_READ // size)):
        rows = np.frombuffer(block[: len(block) // size * size], np.uint8).reshape(-1, size)
        # The checksum covers the first two words of the header, and the page.
        covered = np.ascontiguousarray(np.concatenate((rows[:, :8], rows[:, _FRAME_HEADER:]), axis=1))
        for row, part in zip(rows, _linear_part(covered.view(words)), strict=True):
            frame = row.tobytes()
            number, pages_after = struct.unpack(">2I", frame[:8])
            sums = _advanced(sums, pairs, part)
            if number == 0 or frame[8:16] != salt or sums != struct.unpack(">2I", frame[16:24]):
                return
            yield frame[_FRAME_HEADER:], pages_after != 0
        if len(block) % size:
            return


# A pair of words (x, y) changes the sums (s, t) to (s + x + t, t + y + the new s): to A (s, t) + B (x, y), modulo 2**32
# with A = [[1, 1], [1, 2]] and B = [[1, 0], [1, 1]]. n pairs: A**n (s, t) + the sum of A**(n-1-i) B (x_i, y_i).


def _advanced(sums: _Sums, pairs: int, part: NDArray[np.uint32]) -> _Sums:
    (a, b), (c, d) = _powers(pairs)[pairs]
    s, t = sums
    return (a * s + b * t + int(part[0])) & _MASK, (c * s + d * t + int(part[1])) & _MASK


def _linear_part(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the sums of every row of words, from (0, 0)."""
    return np.asarray(words.astype(np.uint32) @ _coefficients(words.shape[1] // 2), dtype=np.uint32)


@cache
def _powers(count: int) -> list[tuple[_Sums, _Sums]]:
    """Return the powers of A from 0 to `count`."""
    powers = [((1, 0), (0, 1))]
    for _ in range(count):
        (a, b), (c, d) = powers[-1]
        powers.append(((a + c & _MASK, b + d & _MASK), (a + 2 * c & _MASK, b + 2 * d & _MASK)))
    return powers


@cache
def _coefficients(pairs: int) -> NDArray[np.uint32]:
    """Return what each of the words adds to the sums, one row per word."""
    rows = [
        row
        for (a, b), (c, d) in reversed(_powers(pairs)[:pairs])
        # A**k B, its first column for x and its second for y.
        for row in ((a + b & _MASK, c + d & _MASK), (b, d))
    ]
    return np.array(rows, dtype=np.uint32)
