"""The parts of `ColBERT.encode`: the engine a call needs, and the shapes its vectors leave in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serotine.encoders.backend import Backend
from serotine.encoders.encoder import Encoder
from serotine.encoders.spec import EncoderSpec, TokenPooling
from serotine.encoders.tokenization import TextTokenizer


def engine(
    spec: EncoderSpec, backend: Backend, *, normalise: bool, factor: int, protected: int, dim: int | None
) -> Encoder:
    """An encoder on a running model that scales, merges and cuts vectors as one call of `encode` wants it."""
    pooling = spec.pooling if factor == 1 else TokenPooling(float(factor), protected, normalise=False)
    return Encoder.from_backend(replace(spec, normalise=normalise, pooling=pooling), backend, dim=dim)


def whole(
    encoder: Encoder, tokenizer: TextTokenizer, texts: Sequence[str], *, is_query: bool, normalise: bool
) -> dict[str, list[NDArray[Any]]]:
    """Every token of every text: vectors, ids, which are looked at, and which of them count."""
    states = encoder.token_states(texts, query=is_query)
    if normalise:
        states = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in states]
    tokens = tokenizer.encode(list(texts), encoder.spec.query if is_query else encoder.spec.document)
    return {
        "token_embeddings": [rows[:, : encoder.dim] for rows in states],
        "input_ids": [one.ids for one in tokens],
        "attention_mask": [one.attention.astype(np.int64) for one in tokens],
        "masks": [one.kept for one in tokens],
    }


def padded(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Arrays (tokens, ...) as (1, longest, ...) each, filled up with zeros."""
    longest = max(map(len, values), default=0)
    return [np.pad(rows, [(0, longest - len(rows)), *[(0, 0)] * (rows.ndim - 1)])[None] for rows in values]


def stacked(values: list[Any], wanted: bool) -> Any:
    """Tensors of one shape as one tensor, where that is wanted; the list otherwise."""
    if not wanted or not values or len({tuple(value.shape) for value in values}) > 1:
        return values
    return torch.stack(values)
