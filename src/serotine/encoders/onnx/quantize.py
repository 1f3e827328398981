"""Quantization of an ONNX model's matrices to 8 bits.

Weights have one scale per column, embeddings one per row, activations one per token, computed at run time. Embeddings
that came from blocks of 4 bits are stored in those. With one
scale per token the vectors of a text do not depend on the rest of its batch, unlike ONNX's own dynamic quantization
with one scale per tensor, whose error is also three to ten times larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.blocks import BLOCK, four_bit_blocks
from serotine.encoders.int8 import MAX_LEVEL, quantize_rows

# Activations are stored as 1 to 255, as the fast kernels require.
_ZERO_POINT = 128
_CONTRIB = "com.microsoft"
# Tables with fewer rows (positions, token types) are too small to matter.
_MIN_ROWS = 2048
_FLOAT = 1  # onnx.TensorProto.FLOAT
# The first version of the file format that has 4-bit integers.
_IR_OF_FOUR_BITS = 10


def quantize(model: Any, *, float_products: int = 0) -> int:
    """Rewrite every product with a constant matrix, and every lookup in a large table, in place.

    Args:
        model: an onnx ModelProto.
        float_products: number of last products that stay in floating point, stored in 16 bits and multiplied in 32.

    Returns:
        The number of products that were rewritten.
    """
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    products = [
        node
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in constants and len(constants[node.input[1]].dims) == 2
    ]
    selected = {node.output[0] for node in products[: len(products) - float_products]}
    unchanged = {node.output[0] for node in products} - selected
    nodes: list[Any] = []
    quantized: dict[str, tuple[str, str]] = {}
    weights: dict[str, tuple[str, str]] = {}
    new_constants: list[Any] = []

    def constant(name: str, values: NDArray[Any]) -> str:
        new_constants.append(numpy_helper.from_array(values, name))
        return name

    unit = constant("q8_one", np.array(1.0, dtype=np.float32))
    floor = constant("q8_least", np.array(1e-12, dtype=np.float32))
    max_level = constant("q8_most", np.array(MAX_LEVEL, dtype=np.float32))
    zero = constant("q8_zero", np.array(_ZERO_POINT, dtype=np.uint8))
    zeros = constant("q8_zeros", np.array([_ZERO_POINT], dtype=np.uint8))
    last_axis = constant("q8_last_axis", np.array([-1], dtype=np.int64))

    def emit(kind: str, inputs: Iterable[str], output: str, domain: str = "", **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}_node", domain=domain, **attributes))
        return output

    halves: dict[str, str] = {}

    def float16_matrix(matrix: str) -> str:
        if matrix not in halves:
            values = numpy_helper.to_array(constants[matrix]).astype(np.float16)
            halves[matrix] = emit("Cast", [constant(f"{matrix}_f16", values)], f"{matrix}_f32", to=_FLOAT)
        return halves[matrix]

    tables: dict[str, tuple[str, str]] = {}
    blocks: dict[str, tuple[str, str]] = {}
    for node in graph.node:
        if _is_embedding_lookup(node, constants):
            table, ids, out = node.input[0], node.input[1], node.output[0]
            if table not in tables and table not in blocks:
                values = numpy_helper.to_array(constants[table]).astype(np.float32)
                exact = four_bit_blocks(values)
                if exact is not None:
                    new_constants.append(_four_bit_tensor(f"{table}_q4", exact[0]))
                    model.ir_version = max(model.ir_version, _IR_OF_FOUR_BITS)
                    halved = constant(f"{table}_q4_scale", exact[1])
                    # Scales in 32 bits: in 16 the product would be rounded.
                    blocks[table] = (f"{table}_q4", emit("Cast", [halved], f"{table}_q4_scales", to=_FLOAT))
            if table in blocks:
                emit(
                    "GatherBlockQuantized",
                    [blocks[table][0], ids, blocks[table][1]],
                    out,
                    domain=_CONTRIB,
                    gather_axis=0,
                    quantize_axis=1,
                    block_size=BLOCK,
                )
                continue
            if table not in tables:
                levels, scales = quantize_rows(values)
                tables[table] = (constant(f"{table}_q8", levels), constant(f"{table}_q8_scale", scales[:, None]))
            rows = emit("Gather", [tables[table][0], ids], f"{out}_q8_rows", axis=0)
            floats = emit("Cast", [rows], f"{out}_q8_wide", to=_FLOAT)
            row_scales = emit("Gather", [tables[table][1], ids], f"{out}_q8_scales", axis=0)
            emit("Mul", [floats, row_scales], out)
            continue
        if node.op_type != "MatMul" or node.output[0] not in selected:
            if node.op_type == "MatMul" and node.output[0] in unchanged:
                node.input[1] = float16_matrix(node.input[1])
            nodes.append(node)
            continue
        states, matrix, out = node.input[0], node.input[1], node.output[0]
        if matrix not in weights:
            values = numpy_helper.to_array(constants[matrix]).astype(np.float32)
            # An ONNX matrix has a column per output.
            levels, scales = quantize_rows(values.T)
            weights[matrix] = (
                constant(f"{matrix}_q8", np.ascontiguousarray(levels.T)),
                constant(f"{matrix}_q8_scale", scales),
            )
        weight, weight_scales = weights[matrix]
        inputs = constants[matrix].dims[0]
        if states not in quantized:
            flat = constant(f"{states}_q8_rows", np.array([-1, inputs], dtype=np.int64))
            rows = emit("Reshape", [states, flat], f"{states}_q8_flat")
            sizes = emit("Abs", [rows], f"{states}_q8_sizes")
            largest = emit("ReduceMax", [sizes, last_axis], f"{states}_q8_largest", keepdims=1)
            bounded = emit("Max", [largest, floor], f"{states}_q8_bounded")
            scale = emit("Div", [bounded, max_level], f"{states}_q8_scale")
            single = emit("Squeeze", [scale, last_axis], f"{states}_q8_scales")
            shape = emit("Shape", [single], f"{states}_q8_count")
            middle = emit("Expand", [zeros, shape], f"{states}_q8_middle")
            int8_states = emit("QuantizeLinear", [rows, single, middle], f"{states}_q8", axis=0)
            quantized[states] = (int8_states, scale)
        int8_states, scale = quantized[states]
        product = emit(
            "MatMulIntegerToFloat",
            [int8_states, weight, unit, weight_scales, zero],
            f"{out}_q8_product",
            domain=_CONTRIB,
        )
        scaled = emit("Mul", [product, scale], f"{out}_q8_scaled")
        before = emit("Shape", [states], f"{out}_q8_shape", start=0, end=-1)
        columns = constant(f"{out}_q8_columns", np.array([constants[matrix].dims[1]], dtype=np.int64))
        full = emit("Concat", [before, columns], f"{out}_q8_full", axis=0)
        emit("Reshape", [scaled, full], out)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    used_constants = [tensor for tensor in [*graph.initializer, *new_constants] if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(used_constants)
    # The recorded shapes of intermediate values no longer match the graph.
    del graph.value_info[:]
    if not any(entry.domain == _CONTRIB for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(_CONTRIB, 1))
    return len(selected)


def _is_embedding_lookup(node: Any, constants: dict[str, Any]) -> bool:
    if node.op_type != "Gather" or node.input[0] not in constants:
        return False
    table = constants[node.input[0]]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return axis == 0 and len(table.dims) == 2 and table.dims[0] >= _MIN_ROWS and table.data_type == _FLOAT


def _four_bit_tensor(name: str, levels: NDArray[np.uint8]) -> Any:
    """Return levels, two per byte, as an ONNX tensor of 4-bit integers."""
    import onnx

    rows, half = levels.shape
    return onnx.TensorProto(
        name=name, data_type=onnx.TensorProto.INT4, dims=[rows, 2 * half], raw_data=levels.tobytes()
    )
