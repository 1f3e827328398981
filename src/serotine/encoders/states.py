"""The model's states of tokens, in batches within a budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.backend import Backend
from serotine.encoders.batching import batches
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.tokenization import Tokens
from serotine.errors import EncoderError


def batched_states(
    spec: EncoderSpec, backend: Backend, encoded: Sequence[Tokens], budget: int | None
) -> Iterator[list[tuple[int, NDArray[np.float32]]]]:
    """Yield batch by batch the number of every text, and its states, float32 (tokens, dim) without padding.

    Args:
        spec: of the encoder.
        backend: its model.
        encoded: the tokens of every text.
        budget: number of tokens of a batch, padding included; the backend's best unless given.

    Raises:
        EncoderError: the model fails on them, or its states are not of `spec.dim` dimensions.
    """
    for batch in batches(list(map(len, encoded)), budget or backend.batch_tokens):
        yield list(zip(batch, _run(spec, backend, [encoded[number] for number in batch]), strict=True))


def normalize_rows(encoded: Sequence[NDArray[np.float32]], name: str) -> None:
    """Scale the vectors of texts to length 1, in place.

    Raises:
        EncoderError: one is not finite; `name` is the encoder's.
    """
    for vectors in encoded:
        # Half the time of np.linalg.norm on a query's few vectors, and no warning where they are not finite.
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        if not np.isfinite(norms).all():
            raise EncoderError(f"{name}: vectors are not finite; the weights are damaged, or too large for the dtype")
        vectors /= np.maximum(norms, 1e-12)


def _run(spec: EncoderSpec, backend: Backend, batch: list[Tokens]) -> list[NDArray[np.float32]]:
    if not any(map(len, batch)):
        return [np.empty((0, spec.dim), dtype=np.float32)] * len(batch)
    states = backend.run([tokens.ids for tokens in batch], [tokens.attention for tokens in batch])
    if any(text.ndim != 2 or text.shape[1] != spec.dim for text in states):
        raise EncoderError(
            f"{spec.name}: states must be (tokens, {spec.dim}), got {states[0].shape}; correct 'dim' in serotine.json"
        )
    return states
