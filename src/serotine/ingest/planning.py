"""What has to be done so that an index holds what files say: everything is read once before anything is changed."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.errors import DuplicateIdError, InputFileError
from serotine.index.sources import Holding, SourceRecord
from serotine.ingest.chunking import Chunker
from serotine.ingest.declared import declared
from serotine.ingest.document import Document
from serotine.ingest.lines import opened
from serotine.ingest.sources import SourceFile, files
from serotine.texts import is_text

if TYPE_CHECKING:
    from serotine.index import Index

_BATCH = 1000
_BLOCK = 1 << 20
_RECORDS = "records"
# A file changed just now may change again without a trace in its times, which are told in ticks of the system's clock.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not taken; what the index held of it is still there.

    Attributes:
        file: its name.
        message: one line that names it, says what is wrong with it, and what to do.
    """

    file: str
    message: str

    @property
    def reason(self) -> str:
        """The message without the file's name."""
        rest = self.message.removeprefix(f"{self.file}:")
        return re.sub(r"^(\d+): ", r"line \1: ", rest).strip()


OnSkip = Callable[[Skipped], None]
# Given the number of documents each time, as `serotine.progress` has it.
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One file whose documents have to be stored or removed.

    Attributes:
        file: where it is.
        record: what the index is to know of it.
        before: what it knows; None for a new file.
        state: of the file when it was read; another by the time it is read again, and it has changed meanwhile.
    """

    file: SourceFile
    record: SourceRecord
    before: SourceRecord | None
    state: str


@dataclass(slots=True)
class Plan:
    """What is to be done.

    Attributes:
        tasks: files to read again and store.
        confirmed: records of files that are as they were, though their times are not.
        gone: names of sources that are on disk no more.
        unchanged: how many files are as they were.
        skipped: files that cannot be taken.
        documents: how many documents the tasks' files hold.
        store: how many of them have to be stored.
        new: how many of these are under ids that the index does not hold.
        wordless: how many have no words, and the first of them with its place.
    """

    tasks: list[Task] = field(default_factory=list)
    confirmed: list[SourceRecord] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    unchanged: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    documents: int = 0
    store: int = 0
    new: int = 0
    wordless: tuple[int, str] = (0, "")


@dataclass(slots=True)
class Sorted:
    """Documents by what has to be done with them: to store, to take over as they are; and how many can stay."""

    store: list[Document] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    kept: int = 0
    new: int = 0


class Planner:
    """Looks at files and at an index.

    Args:
        index: where the documents are to go; None where it is yet to be made.
        chunker: cuts texts.
        filterable: the declared fields of the index.
        upsert: whether documents are replaced that came from elsewhere.
    """

    def __init__(
        self, index: Index | None, chunker: Chunker, filterable: Mapping[str, str], *, upsert: bool = False
    ) -> None:
        self._index = index
        self._chunker = chunker
        self._filterable = filterable
        self._upsert = upsert
        self._seen: set[str] = set()

    def plan(
        self,
        sources: Sequence[str | Path | SourceFile],
        *,
        on_skip: OnSkip | None = None,
        advance: Advance | None = None,
    ) -> Plan:
        """Reads every file that is new or has changed, and keeps none of it.

        Args:
            sources: files, folders, and files under names of the caller's.
            on_skip: told of every file that cannot be taken.
            advance: told how many more documents were read.

        Raises:
            InputFileError: a source is not there, or a folder has no files to read.
        """
        self._seen.clear()
        known = {} if self._index is None else self._index.sources.all()
        made = Plan()
        chosen, roots = _chosen(sources)
        made.gone = [
            name
            for name in known
            if name not in chosen and any(_within(name, root) for root in roots) and is_absent(name)
        ]
        for file in chosen.values():
            try:
                self._look(file, known.get(file.key), made, advance or _ignore)
            except (InputFileError, DuplicateIdError) as error:
                skipped = Skipped(file.name, str(error))
                made.skipped.append(skipped)
                if on_skip is not None:
                    on_skip(skipped)
        return made

    def _look(self, file: SourceFile, before: SourceRecord | None, made: Plan, advance: Advance) -> None:
        if not is_text(file.key):
            raise InputFileError(f"{file.name}: its name is not UTF-8; rename the file")
        reading = str(self._chunker.chunking) if file.is_text else _RECORDS
        state = state_of(file)
        stamp = _settled(state)
        as_read = before is not None and before.reading == reading and before.digest is not None
        if before is not None and as_read and stamp and before.stamp == stamp:
            made.unchanged += 1
            return
        record = SourceRecord(file.key, _digest(file), stamp, reading)
        if before is not None and as_read and before.digest == record.digest:
            made.unchanged += 1
            if stamp:
                made.confirmed.append(record)
            return
        mine: set[str] = set()
        found = Plan()
        for batch in batches(file.documents(self._chunker), _BATCH):
            for document in batch:
                if document.id in mine or document.id in self._seen:
                    raise DuplicateIdError(
                        f"{document.origin}: the id {document.id!r} stands there a second time; "
                        "give every document its own id"
                    )
                mine.add(document.id)
                if not document.text:
                    first = found.wordless[1] or f"{document.id!r} at {document.origin}"
                    found.wordless = (found.wordless[0] + 1, first)
            parts = self.sort(file, batch)
            found.store += len(parts.store)
            found.new += parts.new
            found.documents += len(batch)
            advance(len(batch))
        if not mine and before is None:
            what = "has no words" if file.is_text else "holds no documents"
            raise InputFileError(f"{file.name}: {what}; check that it is the right file")
        self._seen |= mine
        made.tasks.append(Task(file, record, before, state))
        made.documents += found.documents
        made.store += found.store
        made.new += found.new
        made.wordless = (made.wordless[0] + found.wordless[0], made.wordless[1] or found.wordless[1])

    def onto(self, index: Index) -> Planner:
        """The same, for the index that was made for the plan."""
        return Planner(index, self._chunker, self._filterable, upsert=self._upsert)

    def sort(self, file: SourceFile, documents: Sequence[Document]) -> Sorted:
        """What has to be done with some documents of a file; their metadata become what is declared.

        Raises:
            InputFileError: a value that is not what its field is declared as.
            DuplicateIdError: the index has another document under one of their ids.
        """
        ready = [Document(each.id, each.text, declared(each, self._filterable), each.origin) for each in documents]
        held = {} if self._index is None else self._index.sources.holdings([each.id for each in ready])
        found = Sorted()
        for each in ready:
            holding = held.get(each.id)
            if holding is None:
                found.new += 1
                found.store.append(each)
                continue
            same = holding.same(each.id, each.text, each.metadata)
            if holding.source != file.key and not self._may_take(holding, same=same):
                raise _conflict(each, holding)
            if not same:
                found.store.append(each)
                continue
            found.kept += 1
            if holding.source != file.key:
                found.taken.append(each.id)
        return found

    def _may_take(self, holding: Holding, *, same: bool) -> bool:
        """Whether a document that came from elsewhere becomes this file's."""
        if self._upsert:
            return True
        return same if holding.source is None else is_absent(holding.source)


def batches(documents: Iterator[Document], size: int) -> Iterator[list[Document]]:
    """Lists of at most `size`."""
    while batch := list(islice(documents, size)):
        yield batch


def state_of(file: SourceFile) -> str:
    """Size, times and inode of a file: what changes with its content, short of a trick."""
    try:
        found = file.path.stat()
    except OSError as error:
        raise InputFileError(
            f"{file.name}: cannot be read ({error.strerror or error}); check the file and its access"
        ) from None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def is_absent(name: str) -> bool:
    """Whether a source is surely on disk no more; one that only cannot be reached may be there."""
    if not os.path.isabs(name):  # noqa: PTH117 - a name of the caller's, which may look like no path
        return False
    try:
        Path(name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _settled(state: str) -> str:
    changed = max(int(number) for number in state.split()[1:3])
    return state if changed < time.time_ns() - _SETTLED_NS else ""


def _digest(file: SourceFile) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with opened(file.path, file.name, unpack=False) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _chosen(sources: Iterable[str | Path | SourceFile]) -> tuple[dict[str, SourceFile], list[str]]:
    """The files of sources by their keys, and the folders and files that were named on disk."""
    chosen: dict[str, SourceFile] = {}
    roots = []
    for source in sources:
        if isinstance(source, SourceFile):
            if source.key in chosen:
                raise InputFileError(f"{source.name}: is given twice; give every file its own name")
            chosen[source.key] = source
            continue
        roots.append(os.path.abspath(source))  # noqa: PTH100 - links are not followed
        for path in files(Path(source)):
            file = SourceFile.at(path)
            chosen.setdefault(file.key, file)
    return chosen, roots


def _within(name: str, root: str) -> bool:
    return name == root or name.startswith(root.rstrip(os.sep) + os.sep)


def _conflict(document: Document, holding: Holding) -> DuplicateIdError:
    whence = "" if holding.source is None else f", from {holding.source}"
    return DuplicateIdError(
        f"{document.origin}: the id {document.id!r} is in the index already{whence}; "
        "give this one another id, or replace it: serotine add --upsert"
    )


def _ignore(_: Any) -> None:
    pass
