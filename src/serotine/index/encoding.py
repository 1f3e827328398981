"""Texts to stored vectors, and the encoder an index was made with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.errors import EncoderError
from serotine.index.documents import float_vectors, stored_vectors
from serotine.index.store.catalog import Settings
from serotine.progress import progress_bar
from serotine.text_encoder import AnyEncoder, TextEncoder

# Texts handed to the encoder at once: enough for it to sort by length, few enough to bound memory.
_TEXTS_AT_ONCE = 1024
_MEMBERS = ("name", "dim", "fingerprint", "encode_queries", "encode_documents", "tokens")


def adapted(encoder: AnyEncoder | None) -> TextEncoder | None:
    """Return the encoder as a `TextEncoder`."""
    if encoder is None:
        return None
    from serotine.encoders import as_text_encoder

    return as_text_encoder(encoder)


def describe(encoder: TextEncoder) -> Settings:
    """What an index records of its encoder.

    Raises:
        TypeError: it is none.
    """
    if not all(hasattr(encoder, member) for member in _MEMBERS):
        raise TypeError(
            f"encoder: want an encoder, such as serotine.Encoder(), got {type(encoder).__name__}; "
            f"it needs {', '.join(_MEMBERS)}"
        )
    # Only an encoder that can be loaded in more than one way has options.
    return Settings(encoder.dim, encoder.name, encoder.fingerprint, dict(getattr(encoder, "options", {})))


def check_encoder(settings: Settings, encoder: TextEncoder, folder: Path) -> None:
    """Refuses an encoder other than the index's; an index of vectors takes any of its dimension."""
    given = describe(encoder)
    if settings.encoder is None:
        if given.dim != settings.dim:
            raise EncoderError(f"{folder}: holds vectors of dimension {settings.dim}, the encoder makes {given.dim}")
    elif given.fingerprint != settings.fingerprint:
        raise EncoderError(
            f"{folder}: was built with encoder {_told(settings)}, this is {_told(given)}; "
            "use that encoder, or index again"
        )


def load_encoder(settings: Settings, folder: Path) -> TextEncoder:
    """Loads the encoder an index names.

    Raises:
        EncoderError: the index has none, it cannot be loaded, or it is not what it was.
    """
    if settings.encoder is None:
        raise EncoderError(
            f"{folder}: this index has no encoder; search it with vectors of shape (tokens, {settings.dim})"
        )
    from serotine.encoders import load_recorded

    encoder = load_recorded(settings.encoder, settings.encoder_options)
    check_encoder(settings, encoder, folder)
    return encoder


def _told(settings: Settings) -> str:
    options = "".join(f", {key}={value!r}" for key, value in settings.encoder_options.items())
    return f"{settings.encoder!r}{options} (fingerprint {settings.fingerprint})"


def encode_questions(encoder: TextEncoder, questions: Sequence[str], dim: int) -> list[NDArray[np.float32]]:
    """One checked float32 (tokens, dim) array a question."""
    encoded = encoder.encode_queries(questions)
    _check_count(encoder, encoded, questions)
    return [float_vectors(vectors, f"encoder {encoder.name!r}", dim) for vectors in encoded]


def encode_texts(
    encoder: TextEncoder, texts: Sequence[str], dim: int, *, show_progress: bool
) -> Iterator[NDArray[np.float16]]:
    """Yields what to store of each text, float16 (tokens, dim), never holding many; no tokens where it has no words."""
    nothing = np.empty((0, dim), dtype=np.float16)
    with progress_bar(len(texts), "Encoding", enabled=show_progress) as advance:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = texts[start : start + _TEXTS_AT_ONCE]
            worded = [text for text in part if text.strip()]
            encoded = encoder.encode_documents(worded) if worded else []
            _check_count(encoder, encoded, worded)
            vectors = iter(encoded)
            for text in part:
                yield stored_vectors(next(vectors), f"encoder {encoder.name!r}", dim) if text.strip() else nothing
            advance(len(part))


def _check_count(encoder: TextEncoder, encoded: Sequence[object], texts: Sequence[str]) -> None:
    if len(encoded) != len(texts):
        raise EncoderError(f"encoder {encoder.name!r}: gave {len(encoded):,} arrays for {len(texts):,} texts")
