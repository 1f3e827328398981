"""What an index says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serotine.index.catalog import FORMAT_VERSION, Settings
from serotine.index.codebook import CodebookRecord
from serotine.index.segment import SegmentRecord


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts and sizes of an index.

    Attributes:
        documents: documents that a search can find.
        deleted: documents deleted or replaced whose vectors still take space.
        tokens: stored token vectors, those of deleted documents included.
        dim: dimension of a token vector.
        segments: segment files.
        coded_tokens: how many of them are kept as residual codes; the others wait in the head, as vectors.
        codebooks: codebooks in use.
        centroids: centroids of the newest codebook; 0 when there is none yet.
        nbits: bits a dimension of the residual codes.
        keep_vectors: whether float16 vectors stay beside the codes.
        filterable: type names of the indexed metadata fields.
        bytes: size of the segment and codebook files.
        code_bytes_per_token: size of the codes files over the tokens in them; 0 when there are none.
        catalog_bytes: size of the catalog: ids, texts, metadata.
        bytes_per_token: all of these bytes over stored tokens; 0 when there are none.
        encoder: name of the encoder, or None for an index of vectors.
        encoder_options: what else it was loaded with: dimension, pool factor, place of the marker.
        format_version: version of the format on disk.
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


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Index.verify` looked at, all of it sound.

    Attributes:
        segments: segments whose files were checked: size, header, offsets and checksum.
        codebooks: codebooks whose files were checked.
        documents: documents whose row and place in a segment were checked.
        bytes: bytes read and checksummed.
        stray_files: files in the segment folder that the catalog does not name: left by a writer that was killed,
            harmless, swept when the next writer opens the index.
    """

    segments: int
    codebooks: int
    documents: int
    bytes: int
    stray_files: tuple[str, ...]


def describe_index(
    records: Sequence[SegmentRecord],
    codebooks: Mapping[int, CodebookRecord],
    settings: Settings,
    *,
    documents: int,
    deleted: int,
    catalog_bytes: int,
) -> IndexStats:
    """Adds up what the catalog says."""
    tokens = sum(record.tokens for record in records)
    coded = [record for record in records if record.codes is not None]
    coded_tokens = sum(record.tokens for record in coded)
    code_bytes = sum(record.codes.bytes for record in coded if record.codes is not None)
    size = sum(record.bytes for record in records) + sum(record.file.bytes for record in codebooks.values())
    return IndexStats(
        documents=documents,
        deleted=deleted,
        tokens=tokens,
        dim=settings.dim,
        segments=len(records),
        coded_tokens=coded_tokens,
        codebooks=len(codebooks),
        centroids=codebooks[max(codebooks)].centroids if codebooks else 0,
        nbits=settings.nbits,
        keep_vectors=settings.keep_vectors,
        filterable=settings.filterable,
        bytes=size,
        code_bytes_per_token=code_bytes / coded_tokens if coded_tokens else 0.0,
        catalog_bytes=catalog_bytes,
        bytes_per_token=size / tokens if tokens else 0.0,
        encoder=settings.encoder,
        encoder_options=dict(settings.encoder_options),
        format_version=FORMAT_VERSION,
    )
