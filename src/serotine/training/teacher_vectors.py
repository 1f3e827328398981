"""A teacher's token vectors of everything a stage trains on: made once, kept in files, read through memory maps."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.progress import progress_bar

# Texts a file: what a kill costs at most.
_CHUNK = 256
_OPEN = 128


class TeacherVectors:
    """Vectors by text, of queries or of documents.

    Args:
        encoder: the teacher, as `serotine.Encoder` makes it.
        texts: what to encode; repetitions are encoded once.
        folder: where the files are kept; those there already are used again, if teacher and texts are the same.
        query: whether the texts are queries.
        show_progress: draw a bar on standard error.
    """

    def __init__(
        self, encoder: Any, texts: Sequence[str], folder: Path, *, query: bool, show_progress: bool = False
    ) -> None:
        # By length: the texts of a file, encoded together, need little padding.
        ordered = sorted(set(texts), key=lambda text: (len(text), text))
        key = hashlib.blake2b(digest_size=8)
        for part in (encoder.fingerprint, str(query), *ordered):
            key.update(part.encode() + b"\0")
        self._place = folder / f"{'queries' if query else 'documents'}-{key.hexdigest()}"
        self._place.mkdir(parents=True, exist_ok=True)
        encode = encoder.encode_queries if query else encoder.encode_documents
        # File, first row, row after the last.
        self._found: dict[str, tuple[Path, int, int]] = {}
        # A map holds a file open, and a process may have about a thousand.
        self._open = functools.lru_cache(_OPEN)(functools.partial(np.load, mmap_mode="r"))
        with progress_bar(len(ordered), "Teacher", enabled=show_progress) as advance:
            for start in range(0, len(ordered), _CHUNK):
                chunk = ordered[start : start + _CHUNK]
                vectors, lengths = self._files(start)
                if not lengths.is_file():
                    made: list[NDArray[np.float32]] = encode(chunk)
                    _save(vectors, np.concatenate(made).astype(np.float16))
                    # Last: with it the pair is whole.
                    _save(lengths, np.array([len(rows) for rows in made]))
                ends = np.cumsum(np.load(lengths)).tolist()
                for text, first, last in zip(chunk, [0, *ends], ends, strict=False):
                    self._found[text] = (vectors, first, last)
                advance(len(chunk))

    def __getitem__(self, text: str) -> NDArray[np.float32]:
        """float32 (tokens, dim)."""
        file, first, last = self._found[text]
        rows: NDArray[np.float32] = self._open(file)[first:last].astype(np.float32)
        return rows

    def _files(self, start: int) -> tuple[Path, Path]:
        return self._place / f"{start:08d}.vectors.npy", self._place / f"{start:08d}.lengths.npy"


def _save(file: Path, values: NDArray[Any]) -> None:
    scratch = file.with_name(f".{file.name}")
    with scratch.open("wb") as out:
        np.save(out, values)
    scratch.replace(file)
