"""BERT's weights from one of our ONNX exports, every level and scale as it is, and back to floating point."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serotine.encoders.bert_names import MATRICES, NORMS
from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native.checkpoint import bert_layer, first_position
from serotine.encoders.native.file import read_weights
from serotine.encoders.native.weights import PANEL, BertWeights, Matrix, Norm, Words
from serotine.encoders.onnx import GraphWeights, bert_config, read_bert
from serotine.encoders.projection import Layer, fold
from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError

_WORDS = "embeddings.word_embeddings.weight"


def read_graph_weights(spec: EncoderSpec) -> BertWeights:
    """Load the weights of an exported BERT.

    Raises:
        EncoderError: it holds another architecture, was not written by `serotine model export`, or has widths that the
            native backend does not cover.
    """
    file = spec.folder / (spec.model or "")
    graph = read_bert(file)
    hidden, heads = int(graph.config["hidden_size"]), int(graph.config["num_attention_heads"])
    inner = int(graph.config["intermediate_size"])
    if hidden % PANEL or inner % PANEL or (hidden // heads) % PANEL:
        raise EncoderError(
            f"{file}: the native backend has widths and heads of multiples of {PANEL}, got hidden size {hidden}, "
            f"{heads} heads, feed-forward {inner}; use the ONNX export"
        )
    tensors = graph.backbone
    projections, activations = _projections(spec, graph)
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    return BertWeights(
        words=Words(*graph.levels[_WORDS]) if _WORDS in graph.levels else Words.from_rows(tensors[_WORDS]),
        positions=np.ascontiguousarray(positions),
        norm=_norm(graph, "embeddings.LayerNorm"),
        layers=[
            bert_layer(
                {name: _matrix(graph, f"encoder.layer.{i}.{stored}") for name, stored in MATRICES.items()},
                {name: _norm(graph, f"encoder.layer.{i}.{stored}") for name, stored in NORMS.items()},
            )
            for i in range(int(graph.config["num_hidden_layers"]))
        ],
        projections=projections,
        activations=activations,
        heads=heads,
        intermediate=inner,
        epsilon=float(graph.config["layer_norm_eps"]),
        tanh=False,
        first_position=first_position(spec.backbone),
    )


def read_native_graph(file: Path) -> GraphWeights:
    """Load a native model file as floating-point tensors, for training further.

    Raises:
        EncoderError: as `read_weights`; or the model is not one of BERT's own type.
    """
    weights = read_weights(file)
    if weights.first_position != 0 or any(bias is not None for _, bias, _ in weights.projections):
        raise EncoderError(f"{file}: only BERT models can be turned back into a checkpoint; use its own checkpoint")
    vocabulary, hidden = weights.words.shape
    tensors = {
        _WORDS: weights.words.rows(np.arange(vocabulary)),
        "embeddings.position_embeddings.weight": np.array(weights.positions),
        # Already part of the positions.
        "embeddings.token_type_embeddings.weight": np.zeros((2, hidden), dtype=np.float32),
    }
    norms = {"embeddings.LayerNorm": weights.norm}
    for i, layer in enumerate(weights.layers):
        prefix = f"encoder.layer.{i}."
        norms |= {prefix + stored: getattr(layer, name) for name, stored in NORMS.items()}
        stacked_rows = layer.attention_in.levels * layer.attention_in.scales[:, None]
        rows = dict(zip(("query", "key", "value"), np.split(stacked_rows, 3), strict=True))
        biases = dict(zip(("query", "key", "value"), np.split(layer.attention_in.bias, 3), strict=True))
        for name in ("attention_out", "feed_in", "feed_out"):
            matrix: Matrix = getattr(layer, name)
            rows[name], biases[name] = matrix.levels * matrix.scales[:, None], matrix.bias
        for name, stored in MATRICES.items():
            tensors[f"{prefix}{stored}.weight"] = np.ascontiguousarray(rows[name])
            tensors[f"{prefix}{stored}.bias"] = np.array(biases[name])
    for name, norm in norms.items():
        tensors |= {f"{name}.weight": np.array(norm.gain), f"{name}.bias": np.array(norm.bias)}
    config = bert_config(
        vocabulary, hidden, len(weights.layers), weights.heads, weights.intermediate, len(weights.positions)
    ) | {"layer_norm_eps": weights.epsilon, "hidden_act": "gelu_pytorch_tanh" if weights.tanh else "gelu"}
    matrices = [matrix for weight, _, residual in weights.projections for matrix in (weight, residual)]
    return GraphWeights(config, tensors, {}, [matrix for matrix in matrices if matrix is not None])


def _projections(spec: EncoderSpec, graph: GraphWeights) -> tuple[list[Layer], list[str]]:
    """Return the products after the backbone: the projections as they were folded when they were exported."""
    layers: list[Layer] = [
        (
            np.zeros((layer.outputs, layer.inputs), dtype=np.float32),
            np.zeros(layer.outputs, dtype=np.float32) if layer.bias else None,
            np.zeros((layer.outputs, layer.inputs), dtype=np.float32) if layer.residual else None,
        )
        for layer in spec.projections
    ]
    empty, activations = fold(layers, [layer.activation for layer in spec.projections])
    products = list(graph.projections)
    shapes = [matrix.shape for weight, _, residual in empty for matrix in (weight, residual) if matrix is not None]
    if shapes != [product.shape for product in products] or any(bias is not None for _, bias, _ in empty):
        raise EncoderError(
            f"{spec.name}: its projections cannot be read from the graph; use the checkpoint it was exported from"
        )
    matrices = iter(products)
    folded: list[Layer] = [
        (next(matrices), None, None if residual is None else next(matrices)) for _, _, residual in empty
    ]
    return folded, activations


def _matrix(graph: GraphWeights, name: str) -> Matrix:
    weight = f"{name}.weight"
    levels, scales = graph.levels[weight] if weight in graph.levels else quantize_rows(graph.backbone[weight])
    return Matrix.from_rows(levels, scales, graph.backbone[f"{name}.bias"])


def _norm(graph: GraphWeights, name: str) -> Norm:
    return Norm(graph.backbone[f"{name}.weight"], graph.backbone[f"{name}.bias"])
