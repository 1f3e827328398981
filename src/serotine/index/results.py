"""Statistics and reports of an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serotine.coverage import CoverageReport
from serotine.index.store import Calibration


@dataclass(frozen=True, slots=True)
class SourcesReport:
    """Report of `Index.update_sources`.

    Attributes:
        coverage: counts of the texts that the encoder does not read whole or does not know.
        reused: number of texts that were not encoded, since the index had them under another id.
    """

    coverage: CoverageReport
    reused: int


@dataclass(frozen=True, slots=True)
class PooledStats:
    """The pooled vectors of an index.

    Attributes:
        encoder: name of the dense model, or None where callers give the vectors.
        dim: dimension of a vector.
        similarity: how vectors are compared: "cosine" or "dot".
        weights: of MaxSim and of the pooled vectors in mode "pooled", unless a search has others.
        fitted: whether these were recorded by `Index.set_pooled_weights`; otherwise they are the default.
        bytes: size of their files.
    """

    encoder: str | None
    dim: int
    similarity: str
    weights: tuple[float, float]
    fitted: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts and sizes of an index.

    Attributes:
        documents: number of live documents.
        deleted: number of tombstones: documents deleted or replaced whose vectors still take space.
        tokens: number of token vectors of live documents.
        deleted_tokens: number of those of tombstones.
        dim: dimension of a token vector.
        segments: number of segments.
        coded_tokens: how many of `tokens` have residual codes; the others are in the head, as vectors.
        codebooks: number of codebooks in use.
        centroids: number of centroids of the newest codebook; 0 when there is none yet.
        nbits: bits per dimension of the residual codes.
        keep_vectors: whether float16 vectors stay beside the codes.
        filterable: type names of the indexed metadata fields.
        bytes: size of the segment and codebook files, those of pooled vectors included.
        code_bytes_per_token: size of the codes files per token in them; 0 when there are none.
        catalog_bytes: size of the catalog: ids, texts, metadata.
        bytes_per_token: `bytes` per stored token, those of tombstones included; 0 when there are none.
        encoder: name of the encoder, or None for an index of vectors.
        encoder_options: options it was loaded with: dimension, pool factor, marker position.
        format_version: version of the format on disk.
        truncated: number of live documents that are longer than the encoder reads: the rest of them is not searched.
        unknown: number of live documents that are more than 20% outside the encoder's vocabulary.
        unknown_scripts: these by their main script, such as "Thai" or "emoji".
        arithmetic: what computed the vectors: "native, int8", or "torch or ONNX"; None for an index of vectors.
        calibration: the recall that `Index.tune` or housekeeping measured, by which searches choose their effort; None
            where none is valid.
        unfinished: files and folders whose update has not ended: documents of them are missing.
        pooled: its pooled vectors, or None where it stores none.
        updating: whether it may still be running, because the index is open for writing; otherwise it was interrupted.
    """

    documents: int
    deleted: int
    tokens: int
    dim: int
    segments: int
    coded_tokens: int
    codebooks: int
    centroids: int
    nbits: int
    keep_vectors: bool
    filterable: dict[str, str]
    bytes: int
    code_bytes_per_token: float
    catalog_bytes: int
    bytes_per_token: float
    encoder: str | None
    encoder_options: dict[str, Any]
    format_version: int
    truncated: int = 0
    unknown: int = 0
    unknown_scripts: dict[str, int] = field(default_factory=dict)
    arithmetic: str | None = None
    deleted_tokens: int = 0
    calibration: Calibration | None = None
    unfinished: list[str] = field(default_factory=list)
    updating: bool = False
    pooled: PooledStats | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Report of `Index.verify` on an intact index.

    Attributes:
        segments: number of segments whose files were checked: size, header, offsets and checksum.
        codebooks: number of codebooks whose files were checked.
        documents: number of live documents; the row and the position in a segment of each were checked.
        bytes: number of bytes read and checksummed.
        stray_files: files in the segment folder that the catalog does not name: left by a writer that was killed,
            harmless, removed when the next writer opens the index.
        deleted: number of tombstones that were checked too: documents deleted or replaced that still take space.
    """

    segments: int
    codebooks: int
    documents: int
    bytes: int
    stray_files: tuple[str, ...]
    deleted: int = 0
