"""Lookup of texts that an index already has under another id, so that their vectors need not be computed again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from serotine.errors import IndexDamagedError
from serotine.ingest.chunking import Chunking
from serotine.ingest.document import Document
from serotine.ingest.plan import FileChange

if TYPE_CHECKING:
    from serotine.index import Index

SameText = Callable[[Document], str | None]
"""The id of a document of the index that has the same text, encoded alone; None where none is known."""

# Larger files would take too much memory.
_MAX_DOCUMENTS = 200_000
_BATCH = 1000


class EncodedTexts:
    """The texts of changed and moved files in an index, as it was before an update.

    Where a section is inserted, the passages after it get other ids; where a file is moved or copied, all of them.

    Args:
        index: the index; None where it does not exist yet.
    """

    def __init__(self, index: Index | None) -> None:
        # Vectors cannot be restored from codes.
        self._index = index if index is not None and index.stats().keep_vectors else None
        records = {} if self._index is None else self._index.sources.all()
        # Passages that are encoded in their context depend on more than their text.
        alone = [record for record in records.values() if not Chunking.parse(record.splitting).late]
        self._names = {record.name for record in alone}
        self._by_digest = {record.digest: record.name for record in alone if record.digest}

    def of(self, change: FileChange, *, is_late: bool) -> SameText:
        """Return a lookup of the texts of a file.

        Args:
            change: the new or changed file.
            is_late: whether its passages are encoded in their context.
        """
        index = self._index
        same_bytes = self._by_digest.get(change.record.digest or "", change.record.name)
        names = [name for name in dict.fromkeys((change.record.name, same_bytes)) if name in self._names]
        if index is None or is_late or not names:
            return lambda _: None
        known: dict[bytes, str] | None = None

        def same_text(document: Document) -> str | None:
            nonlocal known
            if known is None:
                known = _ids_by_text(index, [id_ for name in names for id_ in index.sources.ids(name)])
            return known.get(_digest(document.text))

        return same_text


def _ids_by_text(index: Index, ids: Sequence[str]) -> dict[bytes, str]:
    """Return the id of one document for every text, by its digest."""
    if len(ids) > _MAX_DOCUMENTS:
        return {}
    by_text: dict[bytes, str] = {}
    try:
        for start in range(0, len(ids), _BATCH):
            for id_, (text, _) in index.sources.contents(ids[start : start + _BATCH]).items():
                if text is not None:
                    by_text[_digest(text)] = id_
    except IndexDamagedError:
        # What cannot be read is encoded again.
        return {}
    return by_text


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
