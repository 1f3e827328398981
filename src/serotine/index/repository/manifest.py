"""What a snapshot consists of: its files, and the parts of each. A snapshot exists from when its manifest is written.

A part is up to 8 MiB of a file, an object named by its checksum. Parts, and not files, because a transfer that is
interrupted loses only those under way, no multipart upload is ever left open, and the catalog, of which a commit
changes a few pages, shares most of them with the snapshot before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from serotine.errors import IndexDamagedError, RepositoryError, reason, shown
from serotine.index.files import FILE_NAME

FORMAT_VERSION = 1
PART_BYTES = 8 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Names are joined to a folder of the reader's: nothing else may pass.
_FILE_NAME = re.compile(rf"{FILE_NAME}|catalog\.sqlite")


def digest(data: bytes) -> str:
    """Return the BLAKE2b-256 of some bytes, in hexadecimal: the name of a part."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a snapshot.

    Attributes:
        name: within the index: of a segment or codebook, or the catalog's.
        bytes: size.
        checksum: as in the catalog; "" for the catalog itself.
        parts: names of its parts, in order.
    """

    name: str
    bytes: int
    checksum: str
    parts: tuple[str, ...]

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield every part with its size."""
        for number, part in enumerate(self.parts):
            yield part, min(PART_BYTES, self.bytes - number * PART_BYTES)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One snapshot.

    Attributes:
        name: of the snapshot.
        created: date and time in UTC, ISO 8601.
        documents: number of live documents.
        catalog: the catalog.
        files: segments and codebooks.
    """

    name: str
    created: str
    documents: int
    catalog: StoredFile
    files: tuple[StoredFile, ...]

    @property
    def all_files(self) -> tuple[StoredFile, ...]:
        """All files of the index; the catalog is the last."""
        return (*self.files, self.catalog)

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.all_files)

    def sizes(self) -> dict[str, int]:
        """Return every part with its size."""
        return dict(part for file in self.all_files for part in file.sizes())

    def encode(self) -> bytes:
        """Return the manifest as it is stored: JSON with its own checksum."""
        snapshot = _canonical(asdict(self))
        return json.dumps(
            {"format": FORMAT_VERSION, "checksum": digest(snapshot.encode()), "snapshot": snapshot}
        ).encode()


def parse_manifest(data: bytes, place: str) -> Manifest:
    """Return the manifest that `encode` wrote.

    Raises:
        IndexDamagedError: it is not what was written.
        RepositoryError: it is of a later format.
    """
    try:
        stored = json.loads(data)
        version, snapshot = stored["format"], stored["snapshot"]
        if version != FORMAT_VERSION:
            raise RepositoryError(
                f"{place}: format must be {FORMAT_VERSION}, got {shown(version)}; update serotine to read it"
            )
        if digest(snapshot.encode()) != stored["checksum"]:
            raise ValueError("its checksum does not match")
        values = json.loads(snapshot)
        catalog, files = _file(values.pop("catalog")), tuple(map(_file, values.pop("files")))
        return Manifest(**values, catalog=catalog, files=files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IndexDamagedError(
            f"{place}: the manifest is damaged ({reason(error)}); restore another snapshot"
        ) from None


def _file(values: dict[str, Any]) -> StoredFile:
    file = StoredFile(**{**values, "parts": tuple(values["parts"])})
    if not _FILE_NAME.fullmatch(file.name):
        raise ValueError(f"{shown(file.name)} is no file of an index")
    if not isinstance(file.bytes, int) or file.bytes < 0:
        raise ValueError(f"the size of {file.name} is not valid")
    if len(file.parts) != -(-file.bytes // PART_BYTES) or not all(map(_DIGEST.fullmatch, file.parts)):
        raise ValueError(f"the parts of {file.name} are not valid")
    return file


def _canonical(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
