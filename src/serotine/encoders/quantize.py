"""An ONNX model with its matrices in 8 bits.

Weights have one scale a column, embeddings one a row, activations one a token.

One scale a token, found as it comes by: the vectors of a text do not depend on what else is in its batch, as they would
with the one scale a tensor of ONNX's own dynamic quantisation, which is also three to ten times less exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Both sides use -127 to 127. Activations are stored from 1 to 255 around this zero, as the fast kernels want them.
_MOST = 127.0
_ZERO = 128
_CONTRIB = "com.microsoft"
# Tables of fewer rows (positions, types of token) are too small to be worth it.
_LEAST_ROWS = 2048
_FLOAT = 1  # onnx.TensorProto.FLOAT


def quantise(model: Any, *, leave: int = 0) -> int:
    """Rewrites every product with a constant matrix, and every look-up in a large table, in place.

    Args:
        model: an onnx ModelProto.
        leave: this many of the last ones stay: their matrices are stored in 16 bits, and multiplied in 32.

    Returns:
        How many products were rewritten.
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
    chosen = {node.output[0] for node in products[: len(products) - leave]}
    left = {node.output[0] for node in products} - chosen
    made: list[Any] = []
    quantised: dict[str, tuple[str, str]] = {}
    weights: dict[str, tuple[str, str]] = {}
    added: list[Any] = []

    def constant(name: str, values: NDArray[Any]) -> str:
        added.append(numpy_helper.from_array(values, name))
        return name

    one = constant("q8_one", np.array(1.0, dtype=np.float32))
    least = constant("q8_least", np.array(1e-12, dtype=np.float32))
    most = constant("q8_most", np.array(_MOST, dtype=np.float32))
    zero = constant("q8_zero", np.array(_ZERO, dtype=np.uint8))
    zeros = constant("q8_zeros", np.array([_ZERO], dtype=np.uint8))
    last_axis = constant("q8_last_axis", np.array([-1], dtype=np.int64))

    def emit(kind: str, inputs: Iterable[str], output: str, domain: str = "", **attributes: Any) -> str:
        made.append(helper.make_node(kind, list(inputs), [output], name=f"{output}_node", domain=domain, **attributes))
        return output

    halves: dict[str, str] = {}

    def half(matrix: str) -> str:
        if matrix not in halves:
            values = numpy_helper.to_array(constants[matrix]).astype(np.float16)
            halves[matrix] = emit("Cast", [constant(f"{matrix}_f16", values)], f"{matrix}_f32", to=_FLOAT)
        return halves[matrix]

    tables: dict[str, tuple[str, str]] = {}
    for node in graph.node:
        if _looks_up_words(node, constants):
            table, ids, out = node.input[0], node.input[1], node.output[0]
            if table not in tables:
                values = numpy_helper.to_array(constants[table]).astype(np.float32)
                scales = np.maximum(np.abs(values).max(axis=1, keepdims=True) / _MOST, 1e-12).astype(np.float32)
                eighths = np.clip(np.rint(values / scales), -_MOST, _MOST).astype(np.int8)
                tables[table] = (constant(f"{table}_q8", eighths), constant(f"{table}_q8_scale", scales))
            rows = emit("Gather", [tables[table][0], ids], f"{out}_q8_rows", axis=0)
            wide = emit("Cast", [rows], f"{out}_q8_wide", to=_FLOAT)
            of_rows = emit("Gather", [tables[table][1], ids], f"{out}_q8_scales", axis=0)
            emit("Mul", [wide, of_rows], out)
            continue
        if node.op_type != "MatMul" or node.output[0] not in chosen:
            if node.op_type == "MatMul" and node.output[0] in left:
                node.input[1] = half(node.input[1])
            made.append(node)
            continue
        states, matrix, out = node.input[0], node.input[1], node.output[0]
        if matrix not in weights:
            values = numpy_helper.to_array(constants[matrix]).astype(np.float32)
            scales = np.maximum(np.abs(values).max(axis=0) / _MOST, 1e-12).astype(np.float32)
            eighths = np.clip(np.rint(values / scales), -_MOST, _MOST).astype(np.int8)
            weights[matrix] = (constant(f"{matrix}_q8", eighths), constant(f"{matrix}_q8_scale", scales))
        held, scales_of = weights[matrix]
        width = constants[matrix].dims[0]
        if states not in quantised:
            flat = constant(f"{states}_q8_rows", np.array([-1, width], dtype=np.int64))
            rows = emit("Reshape", [states, flat], f"{states}_q8_flat")
            sizes = emit("Abs", [rows], f"{states}_q8_sizes")
            largest = emit("ReduceMax", [sizes, last_axis], f"{states}_q8_largest", keepdims=1)
            bounded = emit("Max", [largest, least], f"{states}_q8_bounded")
            scale = emit("Div", [bounded, most], f"{states}_q8_scale")
            single = emit("Squeeze", [scale, last_axis], f"{states}_q8_scales")
            shape = emit("Shape", [single], f"{states}_q8_count")
            middle = emit("Expand", [zeros, shape], f"{states}_q8_middle")
            eight = emit("QuantizeLinear", [rows, single, middle], f"{states}_q8", axis=0)
            quantised[states] = (eight, scale)
        eight, scale = quantised[states]
        product = emit(
            "MatMulIntegerToFloat", [eight, held, one, scales_of, zero], f"{out}_q8_product", domain=_CONTRIB
        )
        scaled = emit("Mul", [product, scale], f"{out}_q8_scaled")
        before = emit("Shape", [states], f"{out}_q8_shape", start=0, end=-1)
        columns = constant(f"{out}_q8_columns", np.array([constants[matrix].dims[1]], dtype=np.int64))
        full = emit("Concat", [before, columns], f"{out}_q8_full", axis=0)
        emit("Reshape", [scaled, full], out)
    del graph.node[:]
    graph.node.extend(made)
    used = {name for node in made for name in node.input}
    kept = [tensor for tensor in [*graph.initializer, *added] if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    # What was told of shapes in between is no longer all there is.
    del graph.value_info[:]
    if not any(entry.domain == _CONTRIB for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(_CONTRIB, 1))
    return len(chosen)


def _looks_up_words(node: Any, constants: dict[str, Any]) -> bool:
    if node.op_type != "Gather" or node.input[0] not in constants:
        return False
    table = constants[node.input[0]]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return axis == 0 and len(table.dims) == 2 and table.dims[0] >= _LEAST_ROWS and table.data_type == _FLOAT
