"""Run the command line with a fake encoder: ``python tests/helpers/cli_fake.py index ...``."""

from __future__ import annotations

import os
import re
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Token:
    text: str
    start: int
    end: int


class FakeEncoder:
    """An encoder that gives every word a random direction, so that a query matches the words it shares with a text."""

    dim = 16
    name = "fake"

    def __init__(self, name_or_path: str | None = None) -> None:
        self.fingerprint = f"fake-{name_or_path or self.name}"
        self.delay = float(os.environ.get("FAKE_DELAY", "0"))

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        return [Token(match.group(), match.start(), match.end()) for match in re.finditer(r"\w+", text)]

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return [self._encode(text) for text in texts]

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        time.sleep(self.delay * len(texts))
        encoded = self.encode_queries(texts)
        if (log := os.environ.get("FAKE_LOG")) is not None:
            with Path(log).open("a") as file:
                file.write(f"{len(texts)}\n")
        return encoded

    def _encode(self, text: str) -> NDArray[np.float32]:
        rows = [
            np.random.default_rng(zlib.crc32(token.text.lower().encode())).standard_normal(self.dim)
            for token in self.tokens(text, query=False)
        ]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, self.dim)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    import serotine.encoders
    from serotine.cli import main

    serotine.encoders.Encoder = FakeEncoder  # type: ignore[misc, assignment]
    sys.exit(main())
