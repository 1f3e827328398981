"""One index as a shard that changes: what it answers to changes of the whole collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import CoverageReport
from serotine.errors import EmptyTextWarning, MaintenanceWarning, SerotineWarning
from serotine.index.index import Index
from serotine.index.long_texts import LongTexts
from serotine.index.metadata_change import MetadataChange
from serotine.index.shard import Shard
from serotine.index.store import CopyReport
from serotine.issued_warnings import collected_warnings, muted_warnings


@dataclass(frozen=True, slots=True)
class NewDocuments:
    """Documents to add to one shard: the arguments of `Index.add`, validated."""

    ids: Sequence[str]
    texts: Sequence[str] | None
    vectors: Sequence[NDArray[np.floating[Any]]] | None
    metadata: Sequence[dict[str, Any]] | None
    upsert: bool
    long_texts: LongTexts


@dataclass(frozen=True, slots=True)
class AddCheck:
    """What a shard would do with new documents.

    Attributes:
        existing: ids that it would refuse, because it has them.
        coverage: counts of the texts that the encoder does not read whole, or does not know.
        warnings: about other things.
    """

    existing: list[str] = field(default_factory=list)
    coverage: CoverageReport = field(default_factory=CoverageReport)
    warnings: list[SerotineWarning] = field(default_factory=list)


class ShardWriter(Shard):
    """One index as a shard that changes. Arguments and results can be pickled.

    A change of a collection is checked in all its shards before it is made in the first; see `ShardedChanges`.

    Args:
        index: the index, open for writing; closed by its owner.
    """

    def __init__(self, index: Index) -> None:
        super().__init__(index)
        self._writer = index._writer

    def check_add(self, new: NewDocuments) -> AddCheck:
        """Return what adding documents would do; raise what it would raise, but for ids that are in the shard."""
        with collected_warnings() as collected:
            existing, coverage = self._writer.check_add(
                new.ids, new.texts, new.vectors, new.metadata, new.upsert, new.long_texts
            )
        # Of empty texts the collection warns by itself.
        return AddCheck(existing, coverage, [one for one in collected if not isinstance(one, EmptyTextWarning)])

    def add(self, new: NewDocuments) -> list[SerotineWarning]:
        """Add documents that were checked; return warnings about the shard, such as a full disk."""
        with collected_warnings() as collected:
            self._index.add(
                new.ids, new.texts, new.vectors, new.metadata, upsert=new.upsert, long_texts=new.long_texts
            )  # fmt: skip
        # The check has returned the others.
        return [warning for warning in collected if isinstance(warning, MaintenanceWarning)]

    def existing(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that are in the shard, as documents or as split ones."""
        return self._writer.existing(ids)

    def delete(self, ids: Sequence[str] | None, where: Mapping[str, Any] | None) -> int:
        """Delete documents by id, which are all in the shard, or by a filter; return how many."""
        with muted_warnings():
            # By id: a field of the filter that only other shards have is no mistake, which `Index.delete` would refuse.
            return self._index.delete(self._index.ids(where=where) if ids is None else ids)

    def check_metadata(self, changes: Mapping[str, MetadataChange]) -> None:
        """Raise what changing metadata would raise, but for ids that are not in the shard."""
        self._writer.check_metadata(changes)

    def update_metadata(self, ids: Sequence[str], metadata: Sequence[dict[str, Any]], replace: bool) -> None:
        """Change the metadata of documents, after a check."""
        self._index.update_metadata(ids, metadata, replace=replace)

    def compact(self) -> None:
        """See `Index.compact`."""
        self._index.compact()

    def snapshot(self, url: str, storage_options: Mapping[str, Any] | None) -> CopyReport:
        """See `Index.snapshot`."""
        return self._index.snapshot(url, storage_options=storage_options)
