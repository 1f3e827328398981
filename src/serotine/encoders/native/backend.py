"""The native backend: token ids to token vectors, by the compiled core."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serotine import _core
from serotine.encoders.native.weights import Norm, TransformerWeights
from serotine.errors import EncoderError, reason


class NativeBackend:
    """A transformer encoder on the CPU in int8, without ONNX Runtime or torch.

    A text's vectors do not depend on the other texts of a call or on the number of threads.

    Args:
        name: of the encoder, for messages.
        weights: what it computes with.
        threads: number of threads; the core's (`maxsim.set_num_threads`) unless given.

    Raises:
        EncoderError: the weights do not fit together.
    """

    batch_tokens = 8192

    def __init__(self, name: str, weights: TransformerWeights, threads: int | None = None) -> None:
        self._name = name
        self._threads = threads or 0
        try:
            self._model = _model(weights)
        except ValueError as error:
            raise EncoderError(f"{name}: the weights do not fit together ({reason(error)})") from None

    @property
    def instruction_set(self) -> str:
        """What the core computes with on this processor."""
        return _core.encoder_current()

    def run(
        self, ids: Sequence[NDArray[np.int64]], attention: Sequence[NDArray[np.bool_]]
    ) -> list[NDArray[np.float32]]:
        """Return token vectors, as `Backend.run`."""
        offsets = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in ids], out=offsets[1:])
        flat = np.concatenate(ids).astype(np.int32) if ids else np.empty(0, np.int32)
        attended = np.concatenate(attention).astype(np.uint8) if ids else np.empty(0, np.uint8)
        vectors = np.empty((len(flat), self._model.dim), dtype=np.float32)
        try:
            self._model.encode(flat, offsets, vectors, self._threads, None if attended.all() else attended)
        except ValueError as error:
            raise EncoderError(f"{self._name}: fails on {len(ids)} texts ({reason(error)})") from None
        return [vectors[start:end] for start, end in pairwise(offsets)]


def _model(weights: TransformerWeights) -> _core.Transformer:
    architecture = weights.architecture
    model = _core.Transformer(**architecture.core_arguments())
    words = weights.words
    if words.bits == 8:
        model.set_words(words.levels, words.scales)
    else:
        # The bindings have no float16.
        model.set_word_blocks(words.levels, words.scales.view(np.uint16))
    if weights.positions is not None:
        model.set_positions(weights.positions[architecture.first_position :])
    if weights.embedding_norm is not None:
        model.set_embedding_norm(_norm(weights.embedding_norm))
    if weights.final_norm is not None:
        model.set_final_norm(_norm(weights.final_norm))
    for layer, local in zip(weights.layers, architecture.local_layers, strict=True):
        matrices = (layer.attention_in, layer.attention_out, layer.feed_in, layer.feed_out)
        norms = (layer.attention_norm, layer.feed_norm)
        model.add_layer(
            [(matrix.panels, matrix.scales, matrix.bias) for matrix in matrices],
            [None if norm is None else _norm(norm) for norm in norms],
            query_gain=layer.query_gain,
            key_gain=layer.key_gain,
            local=local,
        )
    for (weight, bias, residual), activation in zip(weights.projections, weights.activations, strict=True):
        # Between equal dimensions the residual is the input itself, which needs no product.
        identity = residual is not None and np.array_equal(residual, np.eye(*residual.shape, dtype=residual.dtype))
        model.add_projection(np.ascontiguousarray(weight), bias, activation, identity, None if identity else residual)
    return model


def _norm(norm: Norm) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    return norm.gain, norm.bias
