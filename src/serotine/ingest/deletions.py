"""The documents of one file that were deleted from the index, as the file is read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from serotine.index import DeletedDocument

if TYPE_CHECKING:
    from serotine.index import Index
    from serotine.ingest.document import Document


class Deletions:
    """The deletions that apply to one file.

    Args:
        deleted: what was deleted of earlier versions of the file.
        restores: whether they are stored again.

    Attributes:
        left: the documents of this version that stay deleted.
    """

    def __init__(self, deleted: Iterable[DeletedDocument] = (), *, restores: bool = False) -> None:
        documents = list(deleted)
        self._unseen = Counter((document.record, document.checksum) for document in documents)
        self._ids = {document.id for document in documents}
        self._restores = restores
        self._stored_again = self._unplaced = 0
        self.left: list[DeletedDocument] = []

    @classmethod
    def of(cls, index: Index | None, sources: Iterable[str], *, restores: bool = False) -> Deletions:
        """Return the deletions of recorded sources."""
        deleted = () if index is None else [deleted for name in sources for deleted in index.sources.deleted(name)]
        return cls(deleted, restores=restores)

    def apply_to(self, document: Document) -> bool:
        """Return whether a document that the index does not have stays deleted, and count it."""
        if not self._ids:
            return False
        candidate = DeletedDocument.of(document.id, document.text, document.metadata)
        content = candidate.record, candidate.checksum
        # As many as were deleted, where several passages have the same text.
        if self._unseen[content]:
            self._unseen[content] -= 1
            if self._restores:
                self._stored_again += 1
                return False
            self.left.append(candidate)
            return True
        if not candidate.record:
            self._unplaced += 1
        elif document.id in self._ids:
            self._stored_again += 1
        return False

    @property
    def restored(self) -> int:
        """At most how many deleted documents are stored again: on request, or because text or boundaries changed."""
        unseen = sum(count for (record, _), count in self._unseen.items() if not record)
        return self._stored_again + min(unseen, self._unplaced)
