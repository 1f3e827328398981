"""Rows whose ids are taken: by another file of the update, or by documents that the index has from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import chain

from serotine.errors import DuplicateIdError, shown_id
from serotine.ingest.document import Document
from serotine.ingest.fields import Fields
from serotine.ingest.rows import SkippedRow
from serotine.ingest.sources import SourceFile
from serotine.wording import worded


@dataclass(frozen=True, slots=True)
class Holder:
    """What has an id already.

    Attributes:
        name: the file; None: documents that came from no file.
        is_read: whether it is a file of the same update.
    """

    name: str | None
    is_read: bool = False

    @classmethod
    def of(cls, key: str | None, names: Mapping[str, str]) -> Holder:
        """Return the holder that an index recorded under a key, given the names of the files that are read."""
        return cls(key if key is None else names.get(key, key), key in names)


class TakenIdError(DuplicateIdError):
    """A document whose id is taken.

    Attributes:
        id: the id.
        holder: what has it.
    """

    def __init__(self, document: Document, id_: str, holder: Holder, file: SourceFile) -> None:
        super().__init__(f"{document.origin}: {_reason(id_, (holder,), 1, file)}")
        self.id = id_
        self.holder = holder


class RowNumbersError(DuplicateIdError):
    """A file whose ids number its rows, as those of another file do.

    Attributes:
        row: reports that they get the file as prefix.
    """

    def __init__(self, collisions: Collisions) -> None:
        self.row = collisions.numbered_row
        super().__init__(self.row.message)


@dataclass(slots=True)
class Collisions:
    """The rows of one file that are skipped because their ids are taken.

    Attributes:
        file: the file.
        ids: the ids of their records that are taken.
        count: number of rows.
    """

    file: SourceFile
    ids: set[str] = field(default_factory=set)
    count: int = 0
    _first: tuple[int, str] = (0, "")
    _holders: dict[Holder, None] = field(default_factory=dict)

    def add(self, record: Document, id_: str, holder: Holder) -> None:
        """Count a record, one of whose ids is taken."""
        line = record.line or 0
        if not self.count or line < self._first[0]:
            self._first = line, id_
            # The holder of the first id is the one that is named.
            self._holders = {holder: None, **self._holders}
        self._holders[holder] = None
        self.ids.add(record.ids[-1])
        self.ids.add(id_)
        self.count += 1

    def are_row_numbers(self, ids: Set[str], fields: Fields) -> bool:
        """Return whether ids that are taken number the rows: all are numbers, and nobody named them as ids.

        Most are taken by other files, or they begin at 0 or 1: other numbers may be those of documents.

        Args:
            ids: those of the other rows.
            fields: of the file.
        """
        all_ids = [id_.partition("#")[0] for id_ in chain(ids, self.ids)]
        return (
            self.count > 0
            and fields.id is None
            and not fields.prefix_ids
            and all(holder.name is not None for holder in self._holders)
            and all(id_.isdecimal() for id_ in all_ids)
            and (self.count * 2 > self.count + len(ids) or min(map(int, all_ids)) <= 1)
        )

    @property
    def numbered_row(self) -> SkippedRow:
        """The report that the ids of the file get it as prefix."""
        line, id_ = self._first
        holder = next(iter(self._holders)).name
        fix = worded(
            "Fields(id=...) names another field",
            http="give the rows ids of their own",
            command="--id-field NAME names another field",
        )
        reason = f"its ids number its rows, as those of {holder} do, and are stored as {self.file.name}:{id_}; {fix}"
        return SkippedRow(self.file.name, line, reason, collisions=1)

    @property
    def rows(self) -> tuple[SkippedRow, ...]:
        """The one row that is reported for all of them; none where there are none."""
        if not self.count:
            return ()
        line, id_ = self._first
        reason = _reason(id_, tuple(self._holders), self.count, self.file)
        return (SkippedRow(self.file.name, line, reason, collisions=self.count),)


def _reason(id_: str, holders: tuple[Holder, ...], count: int, file: SourceFile) -> str:
    """Return what is wrong with rows whose ids are taken, given the first id with its holder first, and what to do."""
    holder = holders[0]
    others = len(holders) - 1
    more = f" and {others:,} other file{'s' if others > 1 else ''}" if others else ""
    options = worded("use another id", http="use other ids")
    if file.is_table:
        options = worded(
            "pass Fields(prefix_ids=True), or Fields(id=...) with another field",
            http="use other ids",
            command="add --prefix-ids, or name another field with --id-field NAME",
        )
    replacing = worded(
        "pass upsert=True to replace the documents",
        http="delete the documents first",
        command="replace the documents: serotine add --upsert",
    )
    if holder.name is not None and holder.is_read:
        keeping = f"which keep{'' if others else 's'} {'it' if count == 1 else 'them'}"
        where = f"also in {holder.name}{more}, {keeping}"
        subject = (
            f"duplicate id {shown_id(id_)}, {where}" if count == 1 else f"{count:,} rows have ids that are {where}"
        )
        fix = f"ids must be unique: {options}"
    else:
        where = f"already in the index{'' if holder.name is None else f', from {holder.name}'}{more}"
        subject = f"id {shown_id(id_)} is {where}" if count == 1 else f"{count:,} rows have ids that are {where}"
        fix = f"{options}, or {replacing}"
    return f"{subject}{'' if count == 1 else f' (the first: {shown_id(id_)})'}; {fix}"
