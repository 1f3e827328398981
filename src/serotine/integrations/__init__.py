"""Serotine in other systems: exports, PLAID imports, and one optional module per framework.

The names below load on first use, so that importing this package imports no other library. The frameworks' modules are
imported by their names: `duckdb`, `haystack`, `hf_kernels`, `langchain`, `llama_index`, `mteb`, `pylate`, `sqlite`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.lazy_names import lazy_names

if TYPE_CHECKING:
    from serotine.integrations.exporting import ExportReport
    from serotine.integrations.lancedb import export_lancedb
    from serotine.integrations.parquet import export_parquet
    from serotine.integrations.plaid import PlaidIndex, find_plaid, read_plaid
    from serotine.integrations.qdrant import export_qdrant
    from serotine.integrations.vector_blobs import pack_vectors, unpack_vectors

__all__ = [
    "ExportReport",
    "PlaidIndex",
    "export_lancedb",
    "export_parquet",
    "export_qdrant",
    "find_plaid",
    "pack_vectors",
    "read_plaid",
    "unpack_vectors",
]

_HOMES = {
    "ExportReport": "exporting",
    "PlaidIndex": "plaid",
    "export_lancedb": "lancedb",
    "export_parquet": "parquet",
    "export_qdrant": "qdrant",
    "find_plaid": "plaid",
    "pack_vectors": "vector_blobs",
    "read_plaid": "plaid",
    "unpack_vectors": "vector_blobs",
}


__getattr__ = lazy_names(__name__, _HOMES)
