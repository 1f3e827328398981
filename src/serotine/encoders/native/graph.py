"""BERT's weights from one of our ONNX exports, every level and scale as it is, and back to floating point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.bert_names import MATRICES, NORMS
from serotine.encoders.int8 import quantize_rows
from serotine.encoders.native.architecture import Architecture
from serotine.encoders.native.families import first_position
from serotine.encoders.native.file import read_weights
from serotine.encoders.native.weights import Matrix, Norm, TransformerLayer, TransformerWeights, Words
from serotine.encoders.onnx import GraphWeights, bert_config, read_bert
from serotine.encoders.projection import Layer, fold
from serotine.encoders.spec import EncoderSpec
from serotine.errors import EncoderError

_WORDS = "embeddings.word_embeddings.weight"


def read_graph_weights(spec: EncoderSpec) -> TransformerWeights:
    """Load the weights of an exported BERT.

    Raises:
        EncoderError: it holds another architecture, was not written by `serotine model export`, or has widths that the
            native backend does not cover.
    """
    file = spec.folder / (spec.model or "")
    graph = read_bert(file)
    config, tensors = graph.config, graph.backbone
    architecture = Architecture.bert(
        hidden=int(config["hidden_size"]),
        heads=int(config["num_attention_heads"]),
        intermediate=int(config["intermediate_size"]),
        layers=int(config["num_hidden_layers"]),
        positions=len(tensors["embeddings.position_embeddings.weight"]),
        epsilon=float(config["layer_norm_eps"]),
        first_position=first_position(spec.backbone),
    )
    uncovered = architecture.reason_not_covered()
    if uncovered is not None:
        raise EncoderError(f"{file}: {uncovered}; use the ONNX export")
    projections, activations = _projections(spec, graph)
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    return TransformerWeights(
        architecture=architecture,
        words=Words(*graph.levels[_WORDS]) if _WORDS in graph.levels else Words.from_rows(tensors[_WORDS]),
        positions=np.ascontiguousarray(positions),
        embedding_norm=_norm(graph, "embeddings.LayerNorm"),
        final_norm=None,
        layers=[_layer(graph, f"encoder.layer.{i}.") for i in range(len(architecture.local_layers))],
        projections=projections,
        activations=activations,
    )


def read_native_graph(file: Path) -> GraphWeights:
    """Load a native model file as floating-point tensors, for training further.

    Raises:
        EncoderError: as `read_weights`; or the model is not one of BERT's own type.
    """
    weights = read_weights(file)
    architecture, positions, embedding_norm = weights.architecture, weights.positions, weights.embedding_norm
    has_bias = any(bias is not None for _, bias, _ in weights.projections)
    if not architecture.is_bert or has_bias or positions is None or embedding_norm is None:
        raise EncoderError(f"{file}: only BERT models can be turned back into a checkpoint; use its own checkpoint")
    vocabulary, hidden = weights.words.shape
    tensors = {
        _WORDS: weights.words.rows(np.arange(vocabulary)),
        "embeddings.position_embeddings.weight": np.array(positions),
        # Already part of the positions.
        "embeddings.token_type_embeddings.weight": np.zeros((2, hidden), dtype=np.float32),
    }
    norms = {"embeddings.LayerNorm": embedding_norm}
    for i, layer in enumerate(weights.layers):
        prefix = f"encoder.layer.{i}."
        norms |= {prefix + stored: getattr(layer, name) for name, stored in NORMS.items()}
        stacked_rows = layer.attention_in.levels * layer.attention_in.scales[:, None]
        rows = dict(zip(("query", "key", "value"), np.split(stacked_rows, 3), strict=True))
        biases = dict(zip(("query", "key", "value"), np.split(_bias(layer.attention_in), 3), strict=True))
        for name in ("attention_out", "feed_in", "feed_out"):
            matrix: Matrix = getattr(layer, name)
            rows[name], biases[name] = matrix.levels * matrix.scales[:, None], _bias(matrix)
        for name, stored in MATRICES.items():
            tensors[f"{prefix}{stored}.weight"] = np.ascontiguousarray(rows[name])
            tensors[f"{prefix}{stored}.bias"] = np.array(biases[name])
    for name, norm in norms.items():
        tensors |= {f"{name}.weight": np.array(norm.gain), f"{name}.bias": np.array(norm.bias)}
    config = bert_config(
        vocabulary, hidden, len(weights.layers), architecture.heads, architecture.intermediate, len(positions)
    ) | {
        "layer_norm_eps": architecture.epsilon,
        "hidden_act": "gelu_pytorch_tanh" if architecture.activation == "GELUTanh" else "gelu",
    }
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


def _bias(matrix: Matrix) -> NDArray[np.float32]:
    return np.zeros(len(matrix.scales), dtype=np.float32) if matrix.bias is None else matrix.bias


def _layer(graph: GraphWeights, prefix: str) -> TransformerLayer:
    levels, scales, biases = zip(
        *(_rows(graph, prefix + MATRICES[name]) for name in ("query", "key", "value")), strict=True
    )
    attention_in = Matrix.from_rows(np.concatenate(levels), np.concatenate(scales), np.concatenate(biases))
    parts: dict[str, Any] = {
        name: Matrix.from_rows(*_rows(graph, prefix + MATRICES[name]))
        for name in ("attention_out", "feed_in", "feed_out")
    }
    parts |= {name: _norm(graph, prefix + stored) for name, stored in NORMS.items()}
    return TransformerLayer(attention_in=attention_in, **parts)


def _rows(graph: GraphWeights, name: str) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
    """Return a matrix's levels, scales and bias."""
    weight = f"{name}.weight"
    levels, scales = graph.levels[weight] if weight in graph.levels else quantize_rows(graph.backbone[weight])
    return levels, scales, graph.backbone[f"{name}.bias"]


def _norm(graph: GraphWeights, name: str) -> Norm:
    return Norm(graph.backbone[f"{name}.weight"], graph.backbone[f"{name}.bias"])
