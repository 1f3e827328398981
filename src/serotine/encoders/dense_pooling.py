"""One vector per text, pooled from token states as a dense encoder was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import EncoderSpec, Side
from serotine.encoders.tokenization import Tokens
from serotine.errors import EncoderError

Similarity = Literal["cosine", "dot"]
# An affine layer and a mean with weights that sum to 1 commute; with a single token, any layer does.
_AFFINE = {"mean", "weightedmean"}
_SINGLE_TOKEN = {"cls", "lasttoken"}
_MODES = {*_AFFINE, *_SINGLE_TOKEN, "max", "mean_sqrt_len_tokens"}


def pooling_modes(spec: EncoderSpec) -> list[str]:
    """Return the pooling modes of a dense encoder; a text's vector is the concatenation of theirs.

    A checkpoint without a pooling module uses sentence-transformers' default, the mean.

    Raises:
        EncoderError: the encoder has no vector of a whole text, or pools in an unsupported way.
    """
    if spec.origin != "dense":
        raise EncoderError(f"{spec.name}: a late-interaction encoder has no single vector per text; give it as --model")
    modes = (spec.pooled_by or "mean").split("+")
    for mode in modes:
        if mode not in _MODES:
            raise EncoderError(
                f"{spec.name}: pooling mode must be one of {', '.join(map(repr, sorted(_MODES)))}, got {mode!r}"
            )
    similarity(spec)
    affine = all(layer.activation == "Identity" for layer in spec.projections)
    for mode in modes if spec.projections else []:
        if mode not in _SINGLE_TOKEN and not (affine and mode in _AFFINE):
            raise EncoderError(f"{spec.name}: the layers after its {mode} pooling cannot be applied to single tokens")
    return modes


def similarity(spec: EncoderSpec) -> Similarity:
    """Return how a dense encoder compares its pooled vectors.

    Raises:
        EncoderError: in an unsupported way.
    """
    for supported in get_args(Similarity):
        if spec.pooled_similarity == supported:
            return cast("Similarity", supported)
    options = ", ".join(map(repr, get_args(Similarity)))
    raise EncoderError(f"{spec.name}: similarity must be one of {options}, got {spec.pooled_similarity!r}")


def pooled_dim(spec: EncoderSpec, dim: int) -> int | None:
    """Return the dimension of a pooled vector of an encoder that keeps `dim` dimensions; None if it has no such vector.

    Raises:
        EncoderError: a dense encoder pools in an unsupported way.
    """
    if spec.origin != "dense":
        return None
    return dim if dim < spec.dim else spec.dim * len(pooling_modes(spec))


def pool_texts(
    states: Sequence[NDArray[np.float32]], encoded: Sequence[Tokens], side: Side, modes: list[str], spec: EncoderSpec
) -> list[NDArray[np.float32]]:
    """Return the vector of every text, before it is scaled: of its states, float32 (tokens, dim); zeros of none."""
    rows = []
    for text_states, tokens in zip(states, encoded, strict=True):
        pooled = np.arange(len(tokens)) >= (0 if side.keep_prompt else tokens.prompt_tokens)
        vector = np.zeros(spec.dim * len(modes), dtype=np.float32)
        rows.append(pool_states(text_states, pooled, modes) if len(text_states) else vector)
    return rows


def text_vectors(rows: Sequence[NDArray[np.float32]], spec: EncoderSpec, dim: int) -> NDArray[np.float32]:
    """Return the pooled vectors of texts, float32 (texts, dim), as the model compares them.

    Raises:
        EncoderError: one is not finite.
    """
    vectors = np.stack(rows) if rows else np.empty((0, pooled_dim(spec, dim) or dim), dtype=np.float32)
    vectors = vectors[:, :dim] if dim < spec.dim else vectors
    if not np.isfinite(vectors).all():
        raise EncoderError(f"{spec.name}: vectors are not finite; the weights are damaged")
    if spec.pooled_similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def pool_states(states: NDArray[np.float32], pooled: NDArray[np.bool_], modes: list[str]) -> NDArray[np.float32]:
    """Return one text's vector, before it is scaled.

    Args:
        states: float32 (tokens, dim), at least one token.
        pooled: bool (tokens,), False for tokens of a prompt that the model leaves out.
        modes: from `pooling_modes`.

    Returns:
        float32 (dim * modes,).
    """
    rows = states[pooled] if pooled.any() else states
    vectors = []
    for mode in modes:
        if mode == "cls":
            vectors.append(rows[0])
        elif mode == "lasttoken":
            vectors.append(rows[-1])
        elif mode == "max":
            vectors.append(rows.max(axis=0))
        elif mode == "weightedmean":
            weights = (np.flatnonzero(pooled if pooled.any() else ~pooled) + 1).astype(np.float32)
            vectors.append(weights @ rows / weights.sum())
        else:
            total = rows.sum(axis=0, dtype=np.float32)
            vectors.append(total / (len(rows) if mode == "mean" else np.sqrt(np.float32(len(rows)))))
    return np.concatenate(vectors)
