"""The passages of texts that were cut once, for when the same texts are read again to be stored."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

# Passages and groups of records that are remembered; 16 to 100 bytes each. Texts after these are cut again.
_MAX_PASSAGES = 1 << 21
_MAX_GROUPS = 1 << 18
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: its characters in the text, and its headings."""

    start: int
    end: int
    headings: tuple[str, ...]


class CutList:
    """The passages of one text, without an object for each."""

    def __init__(self) -> None:
        self._offsets = array("Q")
        self._headings: list[tuple[str, ...]] = []

    def __len__(self) -> int:
        return len(self._headings)

    def __iter__(self) -> Iterator[Chunk]:
        starts, ends = self._offsets[::2], self._offsets[1::2]
        yield from map(Chunk, starts, ends, self._headings)

    def append(self, chunk: Chunk) -> None:
        """Add the next passage."""
        self._offsets.extend((chunk.start, chunk.end))
        # One tuple for all passages below the same headings.
        same = bool(self._headings) and self._headings[-1] == chunk.headings
        self._headings.append(self._headings[-1] if same else chunk.headings)


class CutCache:
    """Passages by the digest of their text; what is taken is no longer held."""

    def __init__(self) -> None:
        self._cuts: dict[bytes, CutList] = {}
        self._long: dict[bytes, frozenset[int]] = {}
        self._passages = 0

    def put(self, key: bytes, cut: CutList) -> None:
        """Hold the passages of a text."""
        if self._passages + len(cut) <= _MAX_PASSAGES and key not in self._cuts:
            self._cuts[key] = cut
            self._passages += len(cut)

    def take(self, key: bytes) -> CutList | None:
        """Return the passages of a text, or None where they are not held."""
        cut = self._cuts.pop(key, None)
        self._passages -= 0 if cut is None else len(cut)
        return cut

    def put_long(self, key: bytes, positions: frozenset[int]) -> None:
        """Hold which records of a group are long."""
        if len(self._long) < _MAX_GROUPS:
            self._long[key] = positions

    def take_long(self, key: bytes) -> frozenset[int] | None:
        """Return which records of a group are long, or None where that is not held."""
        return self._long.pop(key, None)


def digest_of(*texts: str) -> bytes:
    """Return the digest of texts."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(len(text).to_bytes(8, "little"))
        for start in range(0, len(text), _BLOCK):
            digest.update(text[start : start + _BLOCK].encode("utf-8", "surrogatepass"))
    return digest.digest()
