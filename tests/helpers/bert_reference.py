"""BERT's forward pass in float64 NumPy, with the weights that the native backend has: the reference of the core."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native import BertWeights
from serotine.encoders.native.weights import BertLayer, Matrix, Norm, Words, stacked

Floats = NDArray[np.float64]


def random_weights(
    seed: int,
    *,
    hidden: int = 64,
    heads: int = 2,
    intermediate: int = 96,
    layers: int = 2,
    vocabulary: int = 50,
    positions: int = 80,
    tanh: bool = False,
    first_position: int = 0,
    projections: tuple[tuple[int, str, bool], ...] = (),
    spread: float = 1.0,
    word_bits: int = 8,
) -> BertWeights:
    """Return a small model; `projections` are (outputs, activation, residual), `spread` scales the attention scores."""
    random = np.random.default_rng(seed)

    def floats(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    def matrix(outputs: int, inputs: int, scale: float = 1.0) -> Matrix:
        levels, scales = quantize_rows(floats(outputs, inputs, scale=scale / math.sqrt(inputs)))
        return Matrix.from_rows(levels, scales, floats(outputs, scale=0.1))

    def norm() -> Norm:
        return Norm(1 + floats(hidden, scale=0.1), floats(hidden, scale=0.1))

    def layer() -> BertLayer:
        query, key = (matrix(hidden, hidden, spread) for _ in range(2))
        value, out = (matrix(hidden, hidden) for _ in range(2))
        feed_in, feed_out = matrix(intermediate, hidden), matrix(hidden, intermediate)
        return BertLayer(stacked([query, key, value]), out, feed_in, feed_out, norm(), norm())

    words = floats(vocabulary, hidden)
    if word_bits == 4:
        words = four_bits(words)
    widths = [hidden, *(outputs for outputs, _, _ in projections)]
    return BertWeights(
        words=Words.from_rows(words),
        positions=floats(positions, hidden, scale=0.3),
        norm=norm(),
        layers=[layer() for _ in range(layers)],
        projections=[
            (
                floats(outputs, inputs, scale=1 / math.sqrt(inputs)),
                floats(outputs, scale=0.1) if residual else None,
                (np.eye(outputs, dtype=np.float32) if outputs == inputs else floats(outputs, inputs, scale=0.1))
                if residual
                else None,
            )
            for inputs, (outputs, _, residual) in zip(widths[:-1], projections, strict=True)
        ],
        activations=[activation for _, activation, _ in projections],
        heads=heads,
        intermediate=intermediate,
        epsilon=1e-12,
        tanh=tanh,
        first_position=first_position,
    )


def four_bits(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round rows to blocks of 32 numbers of 4 bits, the largest of which has the level -8."""
    blocks = rows.reshape(-1, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scales = (largest / -8).astype(np.float16).astype(np.float32)
    return (np.rint(blocks / np.where(scales == 0, 1, scales)).clip(-8, 7) * scales).reshape(rows.shape)


def encode(weights: BertWeights, ids: NDArray[np.int64], attended: NDArray[np.bool_]) -> Floats:
    """Return the vectors of one text, float64 (tokens, dim); nothing is quantized but the weights."""
    states = weights.words.rows(ids) + weights.positions[weights.first_position + np.arange(len(ids))]
    states = _normalize(states, weights.norm, weights.epsilon)
    for layer in weights.layers:
        query, key, value = np.split(_affine(states, layer.attention_in), 3, axis=1)
        context = _attention(query, key, value, weights.heads, attended)
        states = _normalize(states + _affine(context, layer.attention_out), layer.attention_norm, weights.epsilon)
        inner = _gelu(_affine(states, layer.feed_in), weights.tanh)
        states = _normalize(states + _affine(inner, layer.feed_out), layer.feed_norm, weights.epsilon)
    for (weight, bias, residual), activation in zip(weights.projections, weights.activations, strict=True):
        out_states = states @ weight.T.astype(np.float64)
        if bias is not None:
            out_states += bias
        out_states = ACTIVATIONS[activation](out_states)
        states = out_states if residual is None else out_states + states @ residual.T.astype(np.float64)
    return states


def _affine(states: Floats, matrix: Matrix) -> Floats:
    return states @ (matrix.levels.astype(np.float64) * matrix.scales[:, None]).T + matrix.bias


def _normalize(states: Floats, norm: Norm, epsilon: float) -> Floats:
    centered = states - states.mean(axis=1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + epsilon) * norm.gain + norm.bias


def _attention(query: Floats, key: Floats, value: Floats, heads: int, attended: NDArray[np.bool_]) -> Floats:
    tokens, hidden = query.shape
    split = [part.reshape(tokens, heads, hidden // heads).transpose(1, 0, 2) for part in (query, key, value)]
    scores = split[0] @ split[1].transpose(0, 2, 1) / math.sqrt(hidden // heads)
    scores = scores + np.where(attended, 0.0, -1e30)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return (weights @ split[2]).transpose(1, 0, 2).reshape(tokens, hidden)


def _gelu(x: Floats, tanh: bool = False) -> Floats:
    if tanh:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


ACTIVATIONS = {
    "Identity": lambda x: x,
    "ReLU": lambda x: np.maximum(x, 0),
    "GELU": _gelu,
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "Tanh": np.tanh,
}
