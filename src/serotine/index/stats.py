"""Statistics of an index, summed from its catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serotine.index.files.codebook import CodebookRecord
from serotine.index.files.segment import SegmentRecord
from serotine.index.results import IndexStats
from serotine.index.store.catalog import FORMAT_VERSION, Settings


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
