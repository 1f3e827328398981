"""One vector a text, as a dense encoder was trained to make it from its token states."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError

_SIMILARITIES = ("cosine", "dot")
# Weights that sum to 1 go through an affine layer, whichever comes first; one token goes through anything.
_AFFINE = {"mean", "weightedmean"}
_ONE_TOKEN = {"cls", "lasttoken"}
_MODES = {*_AFFINE, *_ONE_TOKEN, "max", "mean_sqrt_len_tokens"}


def check_pools(spec: EncoderSpec) -> list[str]:
    """The ways of pooling whose vectors, end to end, are the text's.

    A checkpoint without a pooling module is given sentence-transformers' own: the mean.

    Raises:
        EncoderError: the encoder makes no vector of a whole text, or makes it in a way that is not known here.
    """
    if spec.origin != "dense":
        raise EncoderError(
            f"{spec.name}: is a late-interaction encoder, which has no one vector for a text; give it as --model"
        )
    modes = (spec.pooled_by or "mean").split("+")
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown:
        raise EncoderError(f"{spec.name}: pools by {unknown[0]!r}; known are {', '.join(sorted(_MODES))}")
    if spec.pooled_similarity not in _SIMILARITIES:
        raise EncoderError(
            f"{spec.name}: compares texts by {spec.pooled_similarity!r}; known are {', '.join(_SIMILARITIES)}"
        )
    affine = all(layer.activation == "Identity" for layer in spec.projections)
    for mode in modes if spec.projections else []:
        if mode not in _ONE_TOKEN and not (affine and mode in _AFFINE):
            raise EncoderError(f"{spec.name}: has layers after its {mode} pooling that cannot be applied to its tokens")
    return modes


def pooled(states: NDArray[np.float32], counted: NDArray[np.bool_], modes: list[str]) -> NDArray[np.float32]:
    """One text's vector, before it is scaled.

    Args:
        states: float32 (tokens, dim), at least one token.
        counted: bool (tokens,), those that are not of the prompt, where the model leaves it out.
        modes: from `check_pools`.

    Returns:
        float32 (dim * modes,).
    """
    kept = states[counted] if counted.any() else states
    parts = []
    for mode in modes:
        if mode == "cls":
            parts.append(kept[0])
        elif mode == "lasttoken":
            parts.append(kept[-1])
        elif mode == "max":
            parts.append(kept.max(axis=0))
        elif mode == "weightedmean":
            weights = (np.flatnonzero(counted if counted.any() else ~counted) + 1).astype(np.float32)
            parts.append(weights @ kept / weights.sum())
        else:
            total = kept.sum(axis=0, dtype=np.float32)
            parts.append(total / (len(kept) if mode == "mean" else np.sqrt(np.float32(len(kept)))))
    return np.concatenate(parts)
