"""Damage: every file of an index flipped, cut, swapped, zeroed, or replaced by junk."""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
from pathlib import Path
from typing import Any

from serotine import Index
from serotine.errors import IndexDamagedError, NotAnIndexError, SerotineError
from serotine.index.files.arrays import MAGIC

from .outcomes import Attack, Outcome, isolated
from .workload import ENCODER, contents, make_template, opened

# In the header of a file of arrays: offset and length of the footer, which is JSON.
_FOOTER_AT = 24
_FOOTER_VALUES = re.compile(rb"\d+|[<|][fiu][1248]")
_TYPES = (b"<f2", b"<f4", b"|i1", b"|u1", b"<u2", b"<u4", b"<u8", b"<i8")
QUERIES = ("seen bat 4", "more owl", "bat 9 81")
_REFUSALS = (IndexDamagedError, NotAnIndexError)


def _leave_wal(path: Path) -> None:
    """Commit once more, and end without closing: the commit is only in the WAL."""
    index = opened(path)
    index.add(ids=["wal"], texts=["only in the log bat"])
    os._exit(0)


def answers(path: Path) -> tuple[Any, ...]:
    """Return everything that reads return."""
    with opened(path, read_only=True) as index:
        searches = [
            [(hit.id, hit.score, hit.text) for hit in index.search(query, k=30, mode=mode, exact=exact)]
            for query in QUERIES
            for mode, exact in (("late", False), ("late", True), ("bm25", False), ("hybrid", False))
        ]
        return contents(index), index.ids(), searches, index.stats().keep_vectors


class Damage(Attack):
    """One file damaged; allowed are a refusal, the same answers, and damage that verify() finds."""

    name = "damage"

    def __init__(self) -> None:
        super().__init__()
        self.originals: list[tuple[Path, tuple[Any, ...]]] = []
        for nbits in (2, 4, 8):
            for name in ("grown", "bare"):
                path = self.folder / f"{name}-{nbits}"
                isolated(lambda path=path, name=name, nbits=nbits: make_template(path, name, nbits=nbits))
                if nbits == 4:
                    isolated(lambda path=path: _leave_wal(path))
                # A reader checkpoints nothing, so that the WAL stays: read a copy.
                reading = self.folder / "reading"
                shutil.copytree(path, reading)
                ended = isolated(lambda reading=reading: answers(reading))
                assert ended.value is not None, ended
                shutil.rmtree(reading)
                self.originals.append((path, ended.value))

    def attempt(self, rng: random.Random) -> Outcome:
        original, expected = rng.choice(self.originals)
        path = self.folder / "attempt"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(original, path)
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)
        files = [file for file in files if not file.name.endswith("-shm")]
        file = rng.choice(files)
        state = f"{original.name}: {_damaged(file, files, rng)}"
        ended = isolated(lambda: _outcome(path, expected))
        if ended.value is None:
            return Outcome("crash", state, ended.killed or ended.trace)
        kind, problem = ended.value
        if not problem and kind != "same answers":
            # What can be saved must be sound, whatever was damaged.
            saved = self.folder / "saved"
            shutil.rmtree(saved, ignore_errors=True)
            ended = isolated(lambda: _salvaged(path, saved, expected[0]))
            if ended.value is None:
                return Outcome("crash in salvage", state, ended.killed or ended.trace)
            problem = ended.value
        return Outcome(kind, state, problem)


def _damaged(file: Path, files: list[Path], rng: random.Random) -> str:
    data = bytearray(file.read_bytes())
    way = rng.choice(("flip", "flip", "flip", "cut", "zero", "junk", "swap", "grow", "footer", "footer"))
    if way == "footer" and not data.startswith(MAGIC):
        way = "flip"
    position = rng.randrange(len(data))
    if way == "footer":
        position = _change_footer(data, rng)
    elif way == "flip":
        data[position] ^= 1 << rng.randrange(8)
    elif way == "cut":
        del data[position:]
    elif way == "grow":
        data += rng.randbytes(rng.randrange(1, 200))
    elif way == "swap":
        other = rng.choice([other for other in files if other != file])
        data = bytearray(other.read_bytes())
    else:
        length = rng.choice((1, 16, 512, 4096))
        piece = data[position : position + length]
        data[position : position + length] = bytes(len(piece)) if way == "zero" else rng.randbytes(len(piece))
    file.write_bytes(data)
    return f"{way} at {position:,} of {file.relative_to(file.parents[len(file.parents) - 1]).name}"


def _change_footer(data: bytearray, rng: random.Random) -> int:
    """Change a shape, an offset, a type or an attribute of a file of arrays, whose size stays; return where."""
    start, length = struct.unpack_from("<QQ", data, _FOOTER_AT)
    found = rng.choice(list(_FOOTER_VALUES.finditer(data, start, start + length)))
    value = found.group()
    if value.isdigit():
        new = "".join(rng.choices("0123456789", k=len(value))).lstrip("0").rjust(len(value)).encode()
    else:
        new = rng.choice(_TYPES)
    data[found.start() : found.end()] = new if new.strip() else b"0".rjust(len(value))
    return found.start()


def _outcome(path: Path, expected: tuple[Any, ...]) -> tuple[str, str]:
    try:
        found = answers(path)
    except _REFUSALS:
        return "refused", ""
    except SerotineError as error:
        return "refused in other words", f"{type(error).__name__}: {error}"
    try:
        with opened(path, read_only=True) as index:
            index.verify()
    except IndexDamagedError:
        return "found by verify()", ""
    if found == expected:
        return "same answers", ""
    return "other answers", "the answers differ, and verify() finds nothing"


def _salvaged(path: Path, saved: Path, expected: dict[str, Any]) -> str:
    try:
        report = Index.salvage(path, saved)
    except _REFUSALS:
        return "" if not saved.exists() else "salvage was refused, and left a folder"
    with Index.open(saved, encoder=ENCODER) as index:
        if index.verify().documents != report.documents:
            return "the report of salvage is wrong"
        if wrong := {id_ for id_, value in contents(index).items() if expected.get(id_) != value}:
            return f"salvage has documents that were never there: {sorted(wrong)}"
    return ""
