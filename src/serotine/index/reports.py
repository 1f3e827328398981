"""What an index says about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts and sizes of an index.

    Attributes:
        documents: documents that a search can find.
        deleted: documents deleted or replaced whose vectors still take space.
        tokens: stored token vectors, those of deleted documents included.
        dim: dimension of a token vector.
        segments: segment files.
        bytes: size of the segment files.
        catalog_bytes: size of the catalog: ids, texts, metadata.
        bytes_per_token: segment bytes over stored tokens; 0 when there are none.
        encoder: name of the encoder, or None for an index of vectors.
        format_version: version of the format on disk.
    """

    documents: int
    deleted: int
    tokens: int
    dim: int
    segments: int
    bytes: int
    catalog_bytes: int
    bytes_per_token: float
    encoder: str | None
    format_version: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Index.verify` looked at, all of it sound.

    Attributes:
        segments: segment files whose size, header, offsets and checksum were checked.
        documents: documents whose place in a segment was checked.
        bytes: bytes read and checksummed.
        stray_files: files in the segment folder that the catalog does not name: left by a writer that was killed,
            harmless, swept when the next writer opens the index.
    """

    segments: int
    documents: int
    bytes: int
    stray_files: tuple[str, ...]
