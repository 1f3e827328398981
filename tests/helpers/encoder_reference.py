"""Transformer encoders in float64 NumPy, with the weights that the native backend has: the reference of the core.

Nothing is quantized but the weights. Tests hold it to transformers' own modules (`test_encoder_reference.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native import Architecture, TransformerWeights
from serotine.encoders.native.weights import Matrix, Norm, TransformerLayer, Words

Floats = NDArray[np.float64]


def bert(
    *,
    hidden: int = 64,
    heads: int = 2,
    intermediate: int = 96,
    layers: int = 2,
    positions: int = 80,
    tanh: bool = False,
    first_position: int = 0,
    theta: float | None = None,
) -> Architecture:
    """Return a small BERT, with rotary positions if they have a base."""
    architecture = Architecture.bert(
        hidden=hidden,
        heads=heads,
        intermediate=intermediate,
        layers=layers,
        positions=positions,
        epsilon=1e-12,
        tanh=tanh,
        first_position=first_position,
    )
    return replace(architecture, theta=theta)


def modernbert(**changes: Any) -> Architecture:
    """Return a small ModernBERT: two of four layers are local."""
    architecture = Architecture(
        hidden=64,
        heads=2,
        key_value_heads=2,
        head_dim=32,
        intermediate=96,
        longest=300,
        epsilon=1e-5,
        activation="GELU",
        local_layers=(False, True, True, False),
        gated=True,
        pre_norm=True,
        theta=160_000.0,
        local_theta=10_000.0,
        reach=8,
        first_attention_norm=False,
        norm_bias=False,
        attention_bias=False,
        feed_bias=False,
    )
    return replace(architecture, **changes)


def qwen3(**changes: Any) -> Architecture:
    """Return a small bidirectional Qwen3: four heads of 32 in states of 96, two of keys and values."""
    architecture = Architecture(
        hidden=96,
        heads=4,
        key_value_heads=2,
        head_dim=32,
        intermediate=160,
        longest=300,
        epsilon=1e-6,
        activation="SiLU",
        local_layers=(False,) * 3,
        gated=True,
        rms_norm=True,
        pre_norm=True,
        theta=1e6,
        embedding_norm=False,
        norm_bias=False,
        attention_bias=False,
        feed_bias=False,
        query_key_norm=True,
    )
    return replace(architecture, **changes)


def random_weights(
    seed: int,
    architecture: Architecture | None = None,
    *,
    vocabulary: int = 50,
    projections: tuple[tuple[int, str, bool], ...] = (),
    spread: float = 1.0,
    word_bits: int = 8,
    **changes: Any,
) -> TransformerWeights:
    """Return a small model, a `bert` of `changes` unless given.

    `projections` are (outputs, activation, residual), `spread` scales the attention scores.
    """
    chosen = bert(**changes) if architecture is None else architecture
    random = np.random.default_rng(seed)
    hidden = chosen.hidden

    def floats(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    def matrix(name: str) -> Matrix:
        outputs, inputs, has_bias = chosen.matrices[name]
        rows = floats(outputs, inputs, scale=1 / math.sqrt(inputs))
        if name == "attention_in":
            rows[: (chosen.heads + chosen.key_value_heads) * chosen.head_dim] *= spread
        levels, scales = quantize_rows(rows)
        return Matrix.from_rows(levels, scales, floats(outputs, scale=0.1) if has_bias else None, chosen.order(name))

    def norm() -> Norm:
        return Norm(1 + floats(hidden, scale=0.1), floats(hidden, scale=0.1) if chosen.norm_bias else None)

    def gain() -> NDArray[np.float32] | None:
        return 1 + floats(chosen.head_dim, scale=0.1) if chosen.query_key_norm else None

    def layer(number: int) -> TransformerLayer:
        matrices = {name: matrix(name) for name in chosen.matrices}
        norms = {name: norm() if chosen.has_norm(name, number) else None for name in ("attention_norm", "feed_norm")}
        parts: dict[str, Any] = {**matrices, **norms, "query_gain": gain(), "key_gain": gain()}
        return TransformerLayer(**parts)

    words = floats(vocabulary, hidden)
    if word_bits == 4:
        words = four_bits(words)
    widths = [hidden, *(outputs for outputs, _, _ in projections)]
    rows = chosen.first_position + chosen.longest
    return TransformerWeights(
        architecture=chosen,
        words=Words.from_rows(words),
        positions=floats(rows, hidden, scale=0.3) if chosen.theta is None else None,
        embedding_norm=norm() if chosen.embedding_norm else None,
        final_norm=norm() if chosen.pre_norm else None,
        layers=[layer(number) for number in range(len(chosen.local_layers))],
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
    )


def four_bits(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round rows to blocks of 32 numbers of 4 bits, the largest of which has the level -8."""
    blocks = rows.reshape(-1, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scales = (largest / -8).astype(np.float16).astype(np.float32)
    return (np.rint(blocks / np.where(scales == 0, 1, scales)).clip(-8, 7) * scales).reshape(rows.shape)


def encode(weights: TransformerWeights, ids: NDArray[np.int64], attended: NDArray[np.bool_]) -> Floats:
    """Return the vectors of one text, float64 (tokens, dim)."""
    *_, states = layer_states(weights, ids, attended)
    for (weight, bias, residual), activation in zip(weights.projections, weights.activations, strict=True):
        out_states = states @ weight.T.astype(np.float64)
        if bias is not None:
            out_states += bias
        out_states = ACTIVATIONS[activation](out_states)
        states = out_states if residual is None else out_states + states @ residual.T.astype(np.float64)
    return states


def layer_states(weights: TransformerWeights, ids: NDArray[np.int64], attended: NDArray[np.bool_]) -> Iterator[Floats]:
    """Yield the states of one text, float64 (tokens, hidden): the embeddings, then those after every layer.

    The last ones are after the final normalization, if there is one.
    """
    architecture = weights.architecture
    states = embeddings(weights, ids)
    for number, layer in enumerate(weights.layers):
        yield states
        if architecture.pre_norm:
            normal = normalize(states, layer.attention_norm, architecture)
            states = states + attention(normal, layer, architecture, number, attended)
            states = states + feed_forward(normalize(states, layer.feed_norm, architecture), layer, architecture)
        else:
            states = states + attention(states, layer, architecture, number, attended)
            states = normalize(states, layer.attention_norm, architecture)
            states = states + feed_forward(states, layer, architecture)
            states = normalize(states, layer.feed_norm, architecture)
    yield normalize(states, weights.final_norm, architecture)


def embeddings(weights: TransformerWeights, ids: NDArray[np.int64]) -> Floats:
    """Return the embeddings of words and positions."""
    states = weights.words.rows(ids).astype(np.float64)
    if weights.positions is not None:
        states = states + weights.positions[weights.architecture.first_position + np.arange(len(ids))]
    return normalize(states, weights.embedding_norm, weights.architecture)


def normalize(states: Floats, norm: Norm | None, architecture: Architecture) -> Floats:
    """Normalize the last dimension: by mean and variance, or by the root mean square."""
    if norm is None:
        return states
    centered = states if architecture.rms_norm else states - states.mean(axis=-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + architecture.epsilon) * norm.gain
    return scaled if norm.bias is None else scaled + norm.bias


def attention(
    states: Floats, layer: TransformerLayer, architecture: Architecture, number: int, attended: NDArray[np.bool_]
) -> Floats:
    """Return what a layer's attention adds to the states."""
    heads, shared, head_dim = architecture.heads, architecture.key_value_heads, architecture.head_dim
    rows = affine(states, layer.attention_in, architecture.order("attention_in"))
    split = rows.reshape(len(states), heads + 2 * shared, head_dim).transpose(1, 0, 2)
    query, key, value = np.split(split, [heads, heads + shared])
    local = architecture.local_layers[number]
    if layer.query_gain is not None and layer.key_gain is not None:
        query = normalize(query, Norm(layer.query_gain, None), architecture)
        key = normalize(key, Norm(layer.key_gain, None), architecture)
    if architecture.theta is not None:
        theta = architecture.local_theta if local and architecture.local_theta is not None else architecture.theta
        query, key = rotate(query, theta), rotate(key, theta)
    key, value = (part.repeat(heads // shared, axis=0) for part in (key, value))
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(head_dim)
    scores = scores + np.where(attended, 0.0, -1e30)
    if local:
        places = np.arange(len(states))
        scores = scores + np.where(np.abs(places[:, None] - places) <= architecture.reach, 0.0, -1e60)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    context = (weights @ value).transpose(1, 0, 2).reshape(len(states), heads * head_dim)
    return affine(context, layer.attention_out)


def rotate(states: Floats, theta: float) -> Floats:
    """Apply rotary positions (Su et al. 2021), halves paired, to states (heads, tokens, head_dim)."""
    half = states.shape[-1] // 2
    angles = np.arange(states.shape[1])[:, None] * theta ** (-2 * np.arange(half) / states.shape[-1])
    first, second = states[..., :half], states[..., half:]
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def feed_forward(states: Floats, layer: TransformerLayer, architecture: Architecture) -> Floats:
    """Return what a layer's feed-forward network adds to the states."""
    inner = affine(states, layer.feed_in, architecture.order("feed_in"))
    activation = ACTIVATIONS[architecture.activation]
    if architecture.gated:
        first, second = np.split(inner, 2, axis=1)
        return affine(activation(first) * second, layer.feed_out)
    return affine(activation(inner), layer.feed_out)


def affine(states: Floats, matrix: Matrix, order: NDArray[np.intp] | None = None) -> Floats:
    """Return states times a matrix whose outputs are stored in an order."""
    outputs = states @ (matrix.levels.astype(np.float64) * matrix.scales[:, None]).T
    if matrix.bias is not None:
        outputs += matrix.bias
    return outputs if order is None else outputs[:, np.argsort(order)]


def _gelu(x: Floats) -> Floats:
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def _gelu_tanh(x: Floats) -> Floats:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "Identity": lambda x: x,
    "ReLU": lambda x: np.maximum(x, 0),
    "GELU": _gelu,
    "GELUTanh": _gelu_tanh,
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "Tanh": np.tanh,
}
