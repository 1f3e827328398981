"""Changes of a collection in shards: checked in all shards that they change, before the first of them changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import CoverageReport
from serotine.errors import UnknownIdError, check_flags, first_and_count
from serotine.index import documents
from serotine.index.filter_checks import FilterChecks
from serotine.index.long_texts import LongTexts, check_long_texts
from serotine.index.metadata_change import MetadataChange
from serotine.index.preparation import refuse_existing
from serotine.index.shard_writer import AddCheck, NewDocuments
from serotine.index.store import Settings
from serotine.index.writer import warn_about_coverage
from serotine.issued_warnings import issue_warning
from serotine.texts import strings


class ShardWriters(Protocol):
    """The writers of the shards of a collection, wherever they are.

    Attributes:
        count: number of shards.
    """

    count: int

    def ask(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Call a method of several `ShardWriter`s that changes nothing, and return all their answers.

        Raises what a writer raised, or that it did not answer.
        """
        ...

    def change(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Call a method of several `ShardWriter`s that changes their shards, and return all their answers.

        Raises what a writer raised, or that it did not answer; the error names the shard, and those that have changed.
        """
        ...


class ShardedChanges:
    """The changes of a collection in shards, as `Index` has them for one index.

    Args:
        writers: of the shards; one change at a time.
        settings: of every shard.
        filters: checks filters.
        owner: returns the shard of an id.
    """

    def __init__(
        self, writers: ShardWriters, settings: Settings, filters: FilterChecks, owner: Callable[[str], int]
    ) -> None:
        self._writers = writers
        self._settings = settings
        self._filters = filters
        self._owner = owner

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None,
        metadata: Sequence[dict[str, Any]] | None,
        upsert: bool,
        long_texts: LongTexts,
    ) -> None:
        """Add documents."""
        check_long_texts(long_texts)
        check_flags(upsert=upsert)
        documents.check_text_lengths(texts)
        settings = self._settings
        batch = documents.validate_documents(
            ids,
            texts,
            vectors,
            metadata,
            settings=settings,
        )
        fields = None if metadata is None else documents.json_metadata(metadata)
        new = {
            shard: (
                NewDocuments(
                    [batch.ids[i] for i in positions],
                    None if texts is None else [batch.stored_texts[i] for i in positions],
                    None if batch.vectors is None else [batch.vectors[i] for i in positions],
                    None if fields is None else [fields[i] for i in positions],
                    upsert,
                    long_texts,
                ),
            )
            for shard, positions in self._positions(batch.ids).items()
        }
        checks: list[AddCheck] = [check for _, check in sorted(self._writers.ask("check_add", new).items())]
        existing = {id_ for check in checks for id_ in check.existing}
        refuse_existing([id_ for id_ in batch.ids if id_ in existing])
        documents.warn_about_empty_texts(batch)
        coverage = CoverageReport()
        for check in checks:
            coverage.merge(check.coverage)
            for warning in check.warnings:
                issue_warning(warning)
        warn_about_coverage(coverage, settings.encoder or "", long_texts)
        for _, warnings in sorted(self._writers.change("add", new).items()):
            for warning in warnings:
                issue_warning(warning)

    def add_batches(self, batches: Iterable[Mapping[str, Any]], upsert: bool, long_texts: LongTexts) -> int:
        """Add a stream of documents; return how many were added."""
        added = 0
        for batch in batches:
            columns = documents.validate_batch(batch)
            ids = documents.document_ids(columns["ids"])
            documents.validate_counts(columns, len(ids))
            existing = set() if upsert else self._existing(ids)
            kept = [i for i, id_ in enumerate(ids) if id_ not in existing]
            new = {name: [values[i] for i in kept] for name, values in columns.items() if values is not None}
            if kept:
                self.add(
                    new["ids"], new.get("texts"), new.get("vectors"), new.get("metadata"), upsert, long_texts
                )  # fmt: skip
            added += len(kept)
        return added

    def delete(self, ids: Sequence[str] | None, where: Mapping[str, Any] | None) -> int:
        """Delete documents; return how many."""
        documents.validate_deletion(ids, where)
        if where is not None:
            self._filters.validate(where)
            counts = self._writers.ask("count", dict.fromkeys(range(self._writers.count), (where,)))
            self._filters.check_deletion(where, sum(counts.values()))
            changes: dict[int, tuple[Any, ...]] = {shard: (None, where) for shard, count in counts.items() if count}
        else:
            unique_ids = list(dict.fromkeys(strings(ids, "ids")))
            self._refuse_missing(unique_ids, "nothing was deleted")
            changes = {shard: (owned, None) for shard, owned in self._owned(unique_ids).items()}
        # Elsewhere nothing would change, but would have to be saved.
        return sum(self._writers.change("delete", changes).values())

    def update_metadata(self, ids: Sequence[str], metadata: Sequence[dict[str, Any]], replace: bool) -> None:
        """Change the metadata of documents."""
        check_flags(replace=replace)
        unique_ids = documents.document_ids(ids)
        documents.validate_counts({"metadata": metadata}, len(unique_ids))
        fields = documents.validate_metadata(metadata, self._settings.filterable)
        self._refuse_missing(unique_ids, "nothing was changed")
        positions = self._positions(unique_ids)
        self._writers.ask(
            "check_metadata",
            {
                shard: ({unique_ids[i]: MetadataChange(fields[i], replace, i) for i in of_shard},)
                for shard, of_shard in positions.items()
            },
        )
        self._writers.change(
            "update_metadata",
            {
                shard: ([unique_ids[i] for i in of_shard], [fields[i] for i in of_shard], replace)
                for shard, of_shard in positions.items()
            },
        )

    def compact(self) -> None:
        """Rewrite all shards without tombstones."""
        self._writers.change("compact", dict.fromkeys(range(self._writers.count), ()))

    def _existing(self, ids: Sequence[str]) -> set[str]:
        answers = self._writers.ask("existing", {shard: (owned,) for shard, owned in self._owned(ids).items()})
        return {id_ for existing in answers.values() for id_ in existing}

    def _refuse_missing(self, ids: Sequence[str], outcome: str) -> None:
        existing = self._existing(ids)
        if missing := [id_ for id_ in ids if id_ not in existing]:
            raise UnknownIdError(f"ids: {first_and_count(missing)} is not in the index; {outcome}")

    def _owned(self, ids: Sequence[str]) -> dict[int, list[str]]:
        return {shard: [ids[i] for i in positions] for shard, positions in self._positions(ids).items()}

    def _positions(self, ids: Sequence[str]) -> dict[int, list[int]]:
        """Return the positions of the ids of every shard that has any."""
        positions: dict[int, list[int]] = {}
        for i, id_ in enumerate(ids):
            positions.setdefault(self._owner(id_), []).append(i)
        return positions
