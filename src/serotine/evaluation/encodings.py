"""Vectors of a collection's documents, in blocks that are kept on disk: what was encoded once is not encoded again.

A block is known by what made it, the encoder and the texts, so a changed document costs one block, and a killed process
loses at most one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.errors import InputFileError, SerotineError
from serotine.progress import Advance

Arrays = dict[str, NDArray[np.generic]]
BLOCK = 1024
"""Documents of a block: some 50 to 200 MB of token vectors."""
STEP = 256
"""Texts encoded at once: enough to sort by length, few enough for progress to move."""


class EncodedBlocks:
    """Encodes texts block by block, or takes from a folder what was encoded before.

    Args:
        folder: where blocks are kept; they are not kept where it is None.
        encode: arrays, by name, of some texts; it calls its second argument with how many it has done, as it goes.
        key: of everything but the texts that decides the arrays: the encoder's fingerprint and what is made with it.

    Attributes:
        encoded: texts that this process encoded.
    """

    def __init__(self, folder: Path | None, encode: Callable[[Sequence[str], Advance], Arrays], key: str) -> None:
        self._folder = folder
        self._encode = encode
        self._key = key
        self.encoded = 0

    def blocks(self, texts: Sequence[str], advance: Advance) -> Iterator[tuple[int, Arrays]]:
        """Yields the number of each block's first text, and its arrays.

        Raises:
            InputFileError: a kept block is damaged.
        """
        for start in range(0, len(texts), BLOCK):
            part = texts[start : start + BLOCK]
            yield start, self._block(part, advance)

    def _block(self, texts: Sequence[str], advance: Advance) -> Arrays:
        if self._folder is None:
            return self._encoded(texts, advance)
        file = self._folder / f"{self._name(texts)}.safetensors"
        if file.is_file():
            advance(len(texts))
            return _read(file)
        arrays = self._encoded(texts, advance)
        _write(file, arrays)
        return arrays

    def _encoded(self, texts: Sequence[str], advance: Advance) -> Arrays:
        arrays = self._encode(texts, advance)
        self.encoded += len(texts)
        return arrays

    def _name(self, texts: Sequence[str]) -> str:
        digest = hashlib.blake2b(self._key.encode(), digest_size=20)
        for text in texts:
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()


def _read(file: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: Arrays = load_file(file)
    except SafetensorError as error:
        raise InputFileError(f"{file}: is damaged ({error}); delete it and run the same command again") from None
    return found


def _write(file: Path, arrays: Arrays) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        save_file(arrays, scratch)
        with scratch.open("rb") as written:
            os.fsync(written.fileno())
        scratch.replace(file)
    except SafetensorError as error:
        raise SerotineError(f"{file}: cannot be written ({error}); make room, or keep none (--no-cache)") from None
    finally:
        scratch.unlink(missing_ok=True)
