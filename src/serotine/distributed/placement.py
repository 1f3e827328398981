"""Placement: which shard has a document."""

from __future__ import annotations

import hashlib

HASH = "blake2b-64"
"""The name of the hash in manifests: BLAKE2b of 8 bytes over UTF-8, big-endian, modulo the number of shards."""


def owner(id_: str, shards: int) -> int:
    """Return the number of the shard that has a document, or the passages of one.

    >>> owner("guide.md", 4) == owner("guide.md#12", 4)
    True
    """
    digest = hashlib.blake2b(_document(id_).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def _document(id_: str) -> str:
    """Return an id without the numbers of passages: passages of a long text, `ID#1`, are where the document's id is."""
    end = len(id_)
    while (mark := id_.rfind("#", 0, end)) >= 0 and id_[mark + 1 : end].isascii() and id_[mark + 1 : end].isdigit():
        end = mark
    return id_[:end]
