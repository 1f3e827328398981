"""Placement: which shard has a document."""

from __future__ import annotations

import hashlib
import re

HASH = "blake2b-64"
"""The name of the hash in manifests: BLAKE2b of 8 bytes over UTF-8, big-endian, modulo the number of shards."""

# Passages of a long text, `ID#1`, are where the document's id is.
_PASSAGE = re.compile(r"(#\d+)+\Z", re.ASCII)


def owner(id_: str, shards: int) -> int:
    """Return the number of the shard that has a document, or the passages of one.

    >>> owner("guide.md", 4) == owner("guide.md#12", 4)
    True
    """
    document = _PASSAGE.sub("", id_)
    digest = hashlib.blake2b(document.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards
