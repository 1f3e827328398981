"""The ONNX backend, and the 8-bit form of a model."""

from __future__ import annotations

from serotine.encoders.onnx.backend import OnnxBackend
from serotine.encoders.onnx.quantize import quantize
from serotine.encoders.onnx.weights import GraphWeights, bert_config, read_bert

__all__ = ["GraphWeights", "OnnxBackend", "bert_config", "quantize", "read_bert"]
