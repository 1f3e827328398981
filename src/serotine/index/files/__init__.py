"""Immutable files of an index: segments and codebooks. What the other rooms of the index may import."""

from __future__ import annotations

from serotine.index.files import durable
from serotine.index.files.arrays import (
    MALFORMED,
    ArraysFile,
    ArraysWriter,
    FileChecksum,
    FileRecord,
    all_damage,
    copy_intact,
    damage,
)
from serotine.index.files.codebook import (
    MAX_CENTROIDS,
    Codebook,
    CodebookRecord,
    Codes,
    centroids_for,
    id_type,
    open_codebook,
    quantize,
    row_bytes,
    sample_size,
)
from serotine.index.files.names import CODEBOOK, CODES, FILE_NAME, POOLED, VECTORS, is_name, new_name
from serotine.index.files.pooled import write_pooled
from serotine.index.files.router import nearest, nearest_member, route
from serotine.index.files.segment import (
    CHECKPOINT_FILE,
    SEGMENT_FOLDER,
    DocumentVectors,
    Segment,
    SegmentRecord,
    append_documents,
    append_postings,
    token_bytes,
    write_segments,
)

__all__ = [
    "CHECKPOINT_FILE",
    "CODEBOOK",
    "CODES",
    "FILE_NAME",
    "MALFORMED",
    "MAX_CENTROIDS",
    "POOLED",
    "SEGMENT_FOLDER",
    "VECTORS",
    "ArraysFile",
    "ArraysWriter",
    "Codebook",
    "CodebookRecord",
    "Codes",
    "DocumentVectors",
    "FileChecksum",
    "FileRecord",
    "Segment",
    "SegmentRecord",
    "all_damage",
    "append_documents",
    "append_postings",
    "centroids_for",
    "copy_intact",
    "damage",
    "durable",
    "id_type",
    "is_name",
    "nearest",
    "nearest_member",
    "new_name",
    "open_codebook",
    "quantize",
    "route",
    "row_bytes",
    "sample_size",
    "token_bytes",
    "write_pooled",
    "write_segments",
]
