"""Benchmarks of kernels, indexes and compression; a module is loaded when one of its names is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.lazy_names import lazy_names

if TYPE_CHECKING:
    from serotine.bench.compression import Grid, OperatingPoint, compression_result, measure_compression
    from serotine.bench.compression_chart import draw_compression
    from serotine.bench.encoded_collection import encode_collection
    from serotine.bench.index import INDEX_PROFILES, measure_index, recall, recall_error
    from serotine.bench.index_chart import draw_index
    from serotine.bench.kernel_chart import draw_kernels
    from serotine.bench.kernels import KernelTiming, measure_kernels
    from serotine.bench.machine import describe_machine
    from serotine.bench.memory import PeakMemory
    from serotine.bench.vectors import VectorCollection, load_vectors, prepare_vectors

_MODULES = {
    "Grid": "compression",
    "INDEX_PROFILES": "index",
    "KernelTiming": "kernels",
    "OperatingPoint": "compression",
    "PeakMemory": "memory",
    "VectorCollection": "vectors",
    "compression_result": "compression",
    "describe_machine": "machine",
    "draw_compression": "compression_chart",
    "draw_index": "index_chart",
    "draw_kernels": "kernel_chart",
    "encode_collection": "encoded_collection",
    "load_vectors": "vectors",
    "measure_compression": "compression",
    "measure_index": "index",
    "measure_kernels": "kernels",
    "prepare_vectors": "vectors",
    "recall": "index",
    "recall_error": "index",
}
__all__ = [
    "INDEX_PROFILES",
    "Grid",
    "KernelTiming",
    "OperatingPoint",
    "PeakMemory",
    "VectorCollection",
    "compression_result",
    "describe_machine",
    "draw_compression",
    "draw_index",
    "draw_kernels",
    "encode_collection",
    "load_vectors",
    "measure_compression",
    "measure_index",
    "measure_kernels",
    "prepare_vectors",
    "recall",
    "recall_error",
]


__getattr__ = lazy_names(__name__, _MODULES)
