"""The rows of segments and codebooks as records. Every file name of an index passes here before it is joined to a path.

A catalog may be damaged, or from a stranger, with checksums that match: a name such as `../../notes.txt` would have a
copy of the index overwrite a file beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from serotine.errors import index_damaged, shown
from serotine.index.files import CODEBOOK, CODES, POOLED, VECTORS, CodebookRecord, FileRecord, SegmentRecord, is_name

SEGMENT_COLUMNS = (
    "segment, documents, tokens, codebook, vectors_file, vectors_bytes, vectors_checksum, "
    "codes_file, codes_bytes, codes_checksum"
)
# Of an index with pooled vectors, after the others.
POOLED_COLUMNS = "pooled_file, pooled_bytes, pooled_checksum"
CODEBOOK_COLUMNS = "codebook, centroids, tokens, file, bytes, checksum"
Refusal = Callable[[str], None]
"""Takes the words for a row that is not valid."""


def refusal(path: Path) -> Refusal:
    """Return what raises IndexDamagedError for the catalog at `path`."""

    def refuse(problem: str) -> None:
        raise index_damaged(f"{path}: {problem}")

    return refuse


def segment_records(rows: Iterable[Sequence[Any]], refuse: Refusal) -> list[tuple[int, SegmentRecord]]:
    """Return the segments of `SEGMENT_COLUMNS`, and of `POOLED_COLUMNS` where there are any, by number.

    Where `refuse` returns, a segment has no file in place of one that is not valid, and is left out without numbers.
    """
    records = []
    for number, documents, tokens, codebook, *files in rows:
        name = f"segment {number!r}"
        if not _are_counts(documents, tokens, 0 if codebook is None else codebook):
            refuse(f"{name}: its numbers of documents, tokens and codebook are not all integers")
            continue
        vectors, codes = _file(name, VECTORS, files[:3], refuse), _file(name, CODES, files[3:6], refuse)
        pooled = _file(name, POOLED, files[6:], refuse) if files[6:] else None
        if files[6:] and files[6] is None:
            refuse(f"{name}: has no file of pooled vectors, which this index stores")
        records.append((number, SegmentRecord(documents, tokens, codebook, vectors, codes, pooled)))
    return records


def codebook_records(rows: Iterable[Sequence[Any]], refuse: Refusal) -> dict[int, CodebookRecord]:
    """Return the codebooks of `CODEBOOK_COLUMNS`, by number; where `refuse` returns, without those not valid."""
    records = {}
    for number, centroids, tokens, *values in rows:
        name = f"codebook {number!r}"
        if not _are_counts(centroids, tokens):
            refuse(f"{name}: its numbers of centroids and tokens are not integers")
        elif (file := _file(name, CODEBOOK, values, refuse)) is not None:
            records[number] = CodebookRecord(file, centroids, tokens)
    return records


def _file(row: str, kind: str, values: Sequence[Any], refuse: Refusal) -> FileRecord | None:
    name, size, checksum = values
    if name is None:
        return None
    if not is_name(name, kind):
        refuse(f"{row}: {shown(name)} is not a file name of {kind}")
    elif not _are_counts(size) or not isinstance(checksum, str):
        refuse(f"{row}: the size or the checksum of its file of {kind} is not valid")
    else:
        return FileRecord(name, size, checksum)
    return None


def _are_counts(*values: object) -> bool:
    return all(isinstance(value, int) and value >= 0 for value in values)
