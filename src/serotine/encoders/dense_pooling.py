"""One vector per text, pooled from token states as a dense encoder was trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError

_SIMILARITIES = ("cosine", "dot")
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
    if spec.pooled_similarity not in _SIMILARITIES:
        options = ", ".join(map(repr, _SIMILARITIES))
        raise EncoderError(f"{spec.name}: similarity must be one of {options}, got {spec.pooled_similarity!r}")
    affine = all(layer.activation == "Identity" for layer in spec.projections)
    for mode in modes if spec.projections else []:
        if mode not in _SINGLE_TOKEN and not (affine and mode in _AFFINE):
            raise EncoderError(f"{spec.name}: the layers after its {mode} pooling cannot be applied to single tokens")
    return modes


def text_vectors(rows: Sequence[NDArray[np.float32]], spec: EncoderSpec, dim: int) -> NDArray[np.float32]:
    """Return the pooled vectors of texts, float32 (texts, dim), as the model compares them.

    Raises:
        EncoderError: one is not finite.
    """
    vectors = np.stack(rows) if rows else np.empty((0, dim), dtype=np.float32)
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
