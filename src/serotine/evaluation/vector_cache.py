"""A cache of text vectors, in blocks on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import InputFileError, SerotineError, reason
from serotine.files import atomic_file
from serotine.progress import Advance

Arrays = dict[str, NDArray[Any]]
BLOCK_SIZE = 1024
"""Texts per block: 50 to 200 MB of token vectors."""
ENCODE_SIZE = 256
"""Texts per call of the encoder: enough to sort by length, few enough for a smooth progress bar."""


class VectorCache:
    """Vectors of texts, encoded block by block or read from the blocks of an earlier run.

    A file is named by a hash of the key and its texts: a changed text re-encodes one block, and a killed process loses
    at most one block.

    Args:
        folder: where blocks are stored; None stores nothing.
        encode: returns an array (rows, dim) per text: its token vectors, or the single vector of a pooled model.
        key: identifies everything but the texts that decides the vectors: the encoder's fingerprint and its options.

    Attributes:
        encoded: number of texts that this object encoded.

    Example:
        >>> import numpy as np
        >>> from serotine.evaluation import VectorCache
        >>> encode = lambda texts: [np.ones((len(text.split()), 4), np.float16) for text in texts]
        >>> cache = VectorCache(None, encode, "toy encoder")
        >>> for start, block in cache.blocks(["a bat", "a late bat"], advance=lambda count: None):
        ...     print(start, block["vectors"].shape, block["offsets"])
        0 (5, 4) [0 2 5]
    """

    def __init__(
        self, folder: Path | None, encode: Callable[[Sequence[str]], Iterable[NDArray[Any]]], key: str
    ) -> None:
        self._folder = folder
        self._encode = encode
        self._key = key
        self.encoded = 0

    def blocks(self, texts: Sequence[str], advance: Advance) -> Iterator[tuple[int, Arrays]]:
        """Yield, in order, the position of each block's first text, and the block's arrays.

        Args:
            texts: the texts to encode.
            advance: called with the number of texts done, as encoding proceeds.

        Yields:
            The position; "vectors" (rows, dim) as the encoder returns them, and "offsets" int64 (texts + 1,).

        Raises:
            InputFileError: a stored block is damaged.
            SerotineError: a block cannot be written.
        """
        for start, block in _blocks(texts):
            file = self._file(block)
            if file is None:
                yield start, self._arrays(block, advance)
            elif file.is_file():
                advance(len(block))
                yield start, _read(file)
            else:
                arrays = self._arrays(block, advance)
                write_block(file, arrays)
                yield start, arrays

    def _file(self, texts: Sequence[str]) -> Path | None:
        if self._folder is None:
            return None
        digest = hashlib.blake2b(self._key.encode(), digest_size=20)
        for text in texts:
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return self._folder / f"{digest.hexdigest()}.safetensors"

    def _arrays(self, texts: Sequence[str], advance: Advance) -> Arrays:
        vectors: list[NDArray[Any]] = []
        for start in range(0, len(texts), ENCODE_SIZE):
            batch = texts[start : start + ENCODE_SIZE]
            vectors += self._encode(batch)
            advance(len(batch))
        self.encoded += len(texts)
        return {"vectors": np.concatenate(vectors), "offsets": np.cumsum([0, *map(len, vectors)], dtype=np.int64)}


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    for start in range(0, len(texts), BLOCK_SIZE):
        yield start, texts[start : start + BLOCK_SIZE]


def open_block(file: Path) -> Any:
    """Map a block into memory.

    Raises:
        InputFileError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="numpy")
    except SafetensorError as error:
        raise _damaged(file, error) from None


def _read(file: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: Arrays = load_file(file)
    except SafetensorError as error:
        raise _damaged(file, error) from None
    return arrays


def _damaged(file: Path, error: Exception) -> InputFileError:
    return InputFileError(f"{file}: damaged ({reason(error)}); delete it and run the same command again")


def write_block(file: Path, arrays: Arrays) -> None:
    """Write arrays atomically.

    Raises:
        SerotineError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as temporary:
            # Saved by path: serializing in memory would need the size of the block again.
            save_file(arrays, temporary.name)
    except (OSError, SafetensorError) as error:
        raise SerotineError(f"{file}: cannot be written ({reason(error)}); free disk space or use --no-cache") from None
