"""The weights of an exported BERT, read from its ONNX graph: an exported encoder can be trained further.

8-bit matrices are multiplied by their scales. The export's rounding stays: its checkpoint had other digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.bert_names import MATRICES, NORMS
from serotine.encoders.blocks import BLOCK
from serotine.errors import EncoderError, missing_extra

_PREFIX = "backbone."
_INT8_PRODUCT = "MatMulIntegerToFloat"
_PRODUCTS = ("MatMul", _INT8_PRODUCT)
# Between a product and its bias in the 8-bit form.
_BETWEEN = ("Mul", "Reshape")
_EMBEDDINGS = ("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight")


@dataclass(frozen=True, slots=True)
class GraphWeights:
    """The weights in an ONNX graph.

    Attributes:
        config: of transformers' BertModel.
        backbone: its tensors by name, float32.
        levels: of those tensors that the graph has in 8 or 4 bits: levels and scales as stored. Matrices are int8
            (outputs, inputs) with one scale per output; word embeddings int8 with one per row, or as `four_bit_blocks`.
        projections: matrices (outputs, inputs) of the products after the backbone, in the order of the graph.
    """

    config: dict[str, Any]
    backbone: dict[str, NDArray[np.float32]]
    levels: dict[str, tuple[NDArray[Any], NDArray[Any]]]
    projections: list[NDArray[np.float32]]


def read_bert(file: Path) -> GraphWeights:
    """Read the weights of a BERT that `serotine model export` wrote, in float32 or int8.

    Raises:
        EncoderError: onnx is not installed, the file cannot be read, or it holds another architecture.
    """
    try:
        import onnx
    except ImportError:
        raise EncoderError(missing_extra("reading an exported encoder's weights", "train")) from None
    try:
        graph = onnx.load(str(file)).graph
    except (OSError, ValueError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        raise EncoderError(f"{file}: cannot be read ({error})") from None
    return _Reader(file, graph).read()


def bert_config(
    vocabulary: int, hidden: int, layers: int, heads: int, intermediate: int, positions: int
) -> dict[str, Any]:
    """Return the configuration of transformers' BertModel."""
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "dtype": "float32",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "max_position_embeddings": positions,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    }


class _Reader:
    """Reads tensors by their place in the graph: equal constants share one name, so names identify nothing."""

    def __init__(self, file: Path, graph: Any) -> None:
        from onnx import numpy_helper

        self._file, self._nodes = file, list(graph.node)
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._packed = {tensor.name: tensor.raw_data for tensor in graph.initializer if tensor.name.endswith("_q4")}
        self._consumers: dict[str, list[Any]] = {}
        for node in self._nodes:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._producers = {name: node for node in self._nodes for name in node.output}

    def read(self) -> GraphWeights:
        norms = [node for node in self._nodes if node.op_type == "LayerNormalization"]
        products = [
            (node, matrix)
            for node in self._nodes
            if node.op_type in _PRODUCTS and (matrix := self._matrix(node)) is not None
        ]
        layers = (len(norms) - 1) // 2
        if not layers or len(norms) % 2 == 0 or len(products) < layers * len(MATRICES):
            raise self._unsupported("its layers differ")
        backbone = {f"embeddings.{name}": self._embedding(name) for name in _EMBEDDINGS}
        levels = self._word_levels()
        norm_names = [
            "embeddings.LayerNorm",
            *(f"encoder.layer.{i}.{name}" for i in range(layers) for name in NORMS.values()),
        ]
        for norm, name in zip(norms, norm_names, strict=True):
            for kind, constant in (("weight", norm.input[1]), ("bias", norm.input[2])):
                backbone[f"{name}.{kind}"] = self._constant(constant)
        dense_names = [f"encoder.layer.{i}.{name}" for i in range(layers) for name in MATRICES.values()]
        for (node, matrix), name in zip(products, dense_names, strict=False):
            backbone[f"{name}.weight"] = np.ascontiguousarray(matrix.T)
            if node.op_type == _INT8_PRODUCT:
                stored = self._constants[node.input[1]].T, self._constants[f"{node.input[1]}_scale"]
                levels[f"{name}.weight"] = np.ascontiguousarray(stored[0]), stored[1]
            backbone[f"{name}.bias"] = self._bias(node)
        projections = [np.ascontiguousarray(matrix.T) for _, matrix in products[len(dense_names) :]]
        epsilon = next(attribute.f for attribute in norms[0].attribute if attribute.name == "epsilon")
        return GraphWeights(self._config(backbone, layers, products[0][0], epsilon), backbone, levels, projections)

    def _constant(self, name: str) -> NDArray[np.float32]:
        if name not in self._constants:
            raise self._unsupported(f"{name!r} is computed")
        return np.ascontiguousarray(self._constants[name], dtype=np.float32)

    def _embedding(self, name: str) -> NDArray[np.float32]:
        name = f"{_PREFIX}embeddings.{name}"
        if f"{name}_q4" in self._constants:
            blocks = np.repeat(self._constants[f"{name}_q4_scale"].astype(np.float32), BLOCK, axis=1)
            scaled: NDArray[np.float32] = self._constants[f"{name}_q4"].astype(np.float32) * blocks
            return scaled
        return self._scaled(f"{name}_q8") if f"{name}_q8" in self._constants else self._constant(name)

    def _word_levels(self) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
        name, stored = f"embeddings.{_EMBEDDINGS[0]}", f"{_PREFIX}embeddings.{_EMBEDDINGS[0]}"
        if f"{stored}_q4" in self._constants:
            rows, hidden = self._constants[f"{stored}_q4"].shape
            packed = np.frombuffer(self._packed[f"{stored}_q4"], dtype=np.uint8).reshape(rows, hidden // 2)
            return {name: (packed, self._constants[f"{stored}_q4_scale"])}
        if f"{stored}_q8" in self._constants:
            return {name: (self._constants[f"{stored}_q8"], self._constants[f"{stored}_q8_scale"].reshape(-1))}
        return {}

    def _matrix(self, node: Any) -> NDArray[np.float32] | None:
        """Return the constant (inputs, outputs) that a product multiplies by, or None for a product of two states."""
        name = node.input[1]
        if name in self._producers and self._producers[name].op_type == "Cast":
            name = self._producers[name].input[0]
        if name not in self._constants:
            return None
        if node.op_type == _INT8_PRODUCT:
            return self._scaled(name)
        return self._constants[name].astype(np.float32)

    def _scaled(self, name: str) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = self._constants[name].astype(np.float32) * self._constants[f"{name}_scale"]
        return scaled

    def _bias(self, product: Any) -> NDArray[np.float32]:
        added = self._sum(product)
        name = next((name for name in added.input if name in self._constants), "")
        return self._constant(name)

    def _sum(self, product: Any) -> Any:
        """Return the addition after a product, past the scales and shapes of the 8-bit form."""
        name = product.output[0]
        while True:
            node = next(iter(self._consumers.get(name, [])), None)
            if node is not None and node.op_type == "Add":
                return node
            if node is None or node.op_type not in _BETWEEN:
                raise self._unsupported("a layer has no bias")
            name = node.output[0]

    def _config(
        self, backbone: dict[str, NDArray[np.float32]], layers: int, query: Any, epsilon: float
    ) -> dict[str, Any]:
        words, positions, types = (backbone[f"embeddings.{name}"] for name in _EMBEDDINGS)
        heads = words.shape[1] // self._head_size(query)
        inner = len(backbone["encoder.layer.0.intermediate.dense.bias"])
        config = bert_config(words.shape[0], words.shape[1], layers, heads, inner, len(positions))
        return config | {"type_vocab_size": len(types), "layer_norm_eps": round(epsilon, 15)}

    def _head_size(self, query: Any) -> int:
        """Return the last number of the shape that queries of attention are split into: (..., heads, size)."""
        split = next(iter(self._consumers.get(self._sum(query).output[0], [])), None)
        shape = None if split is None or split.op_type != "Reshape" else self._producers.get(split.input[1])
        if shape is None or shape.input[-1] not in self._constants:
            raise self._unsupported("its attention differs")
        return int(self._constants[shape.input[-1]].reshape(-1)[0])

    def _unsupported(self, cause: str) -> EncoderError:
        return EncoderError(
            f"{self._file}: only exports of BERT models can be turned back into a checkpoint ({cause}); "
            "use the checkpoint that it was exported from"
        )
