"""Token vectors of texts, encoded when they are first asked for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.evaluation.vector_cache import open_block, write_block

MAX_OPEN_FILES = 128
"""Files that a store has open at once; the usual limit of a process is 1,024."""
_DIGEST_SIZE = 16


class VectorStore:
    """Vectors by text, computed at the first request and read from files from then on.

    The texts of one request that are new are encoded together and become one file, named by their contents, so a killed
    process loses one request at most. Processes may share a folder: each encodes what it misses, and finds what others
    wrote before it started.

    Args:
        folder: where files are stored.
        encode: returns an array (rows, dim) per text.
        key: identifies everything but the texts that decides the vectors: the encoder's fingerprint and its options.

    Attributes:
        encoded: number of texts that this object encoded.

    Raises:
        InputFileError: a stored file is damaged.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from serotine.evaluation import VectorStore
        >>> encode = lambda texts: [np.ones((len(text.split()), 4), np.float16) for text in texts]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = VectorStore(folder, encode, "toy encoder")
        ...     shapes = [vectors.shape for vectors in store.vectors(["a bat", "a late bat", "a bat"])]
        ...     print(shapes, store.encoded)
        [(2, 4), (3, 4), (2, 4)] 2
    """

    def __init__(self, folder: str | Path, encode: Callable[[Sequence[str]], Iterable[NDArray[Any]]], key: str) -> None:
        self._folder = Path(folder) / hashlib.blake2b(key.encode(), digest_size=_DIGEST_SIZE).hexdigest()
        self._encode = encode
        self._open = functools.lru_cache(MAX_OPEN_FILES)(open_block)
        self._rows: dict[bytes, tuple[Path, int, int]] = {}
        self.encoded = 0
        for file in sorted(self._folder.glob("*.safetensors")):
            self._register(file)

    def vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return float32 (rows, dim) per text.

        Raises:
            SerotineError: a file cannot be written.
        """
        digests = [_digest(text) for text in texts]
        missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in self._rows}
        if missing:
            self._add(missing)
        return [self._read(digest) for digest in digests]

    def _add(self, missing: dict[bytes, str]) -> None:
        # By length: texts that are encoded together need little padding.
        ordered = sorted(missing.items(), key=lambda item: (len(item[1]), item[0]))
        arrays = list(self._encode([text for _, text in ordered]))
        digests = b"".join(digest for digest, _ in ordered)
        name = hashlib.blake2b(digests, digest_size=_DIGEST_SIZE).hexdigest()
        file = self._folder / f"{name}.safetensors"
        write_block(
            file,
            {
                # Stored as float16: half the size, and far below the rounding that MaxSim notices.
                "vectors": np.concatenate(arrays).astype(np.float16),
                "offsets": np.cumsum([0, *map(len, arrays)], dtype=np.int64),
                "digests": np.frombuffer(digests, dtype=np.uint8).reshape(-1, _DIGEST_SIZE),
            },
        )
        self.encoded += len(ordered)
        self._register(file)

    def _register(self, file: Path) -> None:
        block = self._open(file)
        offsets: list[int] = block.get_tensor("offsets").tolist()
        for digest, first, last in zip(block.get_tensor("digests"), offsets[:-1], offsets[1:], strict=True):
            self._rows.setdefault(digest.tobytes(), (file, first, last))

    def _read(self, digest: bytes) -> NDArray[np.float32]:
        file, first, last = self._rows[digest]
        vectors: NDArray[np.float32] = self._open(file).get_slice("vectors")[first:last].astype(np.float32)
        return vectors


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_SIZE).digest()
