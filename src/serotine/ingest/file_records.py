"""What an index records of a file beside its documents: the fields of a table, and what was not read.

An update that does not read the file again reports from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from serotine.errors import IndexDamagedError, index_damaged, reason
from serotine.index import SourceRecord
from serotine.ingest.fields import Fields
from serotine.ingest.file_types import file_type
from serotine.ingest.limits import reading_limits
from serotine.ingest.rows import SkippedRows
from serotine.ingest.sources import SourceFile

if TYPE_CHECKING:
    from serotine.index import Index

_SKIPPED_ROWS = "skipped_rows"
_UNREAD = "unread"
_PROBLEMS = "problems"
_HAS_COLLISIONS = "has_collisions"
_IS_NUMBERED = "is_numbered"
_LIMITS = "limits"
_PART_OF = "part_of"


def recorded_fields(index: Index | None) -> dict[str, Fields]:
    """Return the fields with which an index read its tables, as `DocumentReader.recorded` has them."""
    recorded = {}
    for name, record in ({} if index is None else index.sources.all()).items():
        given = record.splitting.partition(" ")[2]
        try:
            fields = Fields.parse(_recorded(record, given))
        except (TypeError, ValueError) as error:
            raise _damaged(record, error) from error
        if is_numbered(record):
            # Of this file alone, and not asked for.
            fields = replace(fields, prefix_ids=False)
        recorded[name] = fields
        # Another file of its type has any encoding.
        recorded[f"*{file_type(name)}"] = replace(fields, encoding=None)
    return recorded


def as_recorded(file: SourceFile, records: Mapping[str, SourceRecord]) -> SourceFile:
    """Return a file under the key that an index records; earlier versions did not resolve links."""
    if not records or file.key in records:
        return file
    given = os.path.abspath(file.path)  # noqa: PTH100
    return replace(file, key=given) if given in records else file


def with_report(
    record: SourceRecord,
    skipped: SkippedRows,
    unread: Mapping[str, int],
    problems: SkippedRows,
    *,
    has_collisions: bool,
    is_numbered: bool,
) -> SourceRecord:
    """Return a file's record with what was not read of it, so that an update that does not read it knows it."""
    report: dict[str, Any] = {_SKIPPED_ROWS: skipped.to_json(), _LIMITS: str(reading_limits())} if skipped else {}
    if unread:
        report[_UNREAD] = dict(unread)
    if problems:
        report[_PROBLEMS] = problems.to_json()
    if has_collisions:
        report[_HAS_COLLISIONS] = True
    if is_numbered:
        report[_IS_NUMBERED] = True
    return replace(record, report=json.dumps(report) if report else "")


def unread(record: SourceRecord) -> dict[str, int]:
    """Return how many images, attachments and the like of a file were not read, by kind."""
    return dict(_recorded(record, record.report).get(_UNREAD, {}))


def skipped_rows(record: SourceRecord, file: str) -> SkippedRows:
    """Return the rows that were skipped when a file was last read, under the name it has now."""
    return _recorded_lines(record, file, _SKIPPED_ROWS)


def problems(record: SourceRecord, file: str) -> SkippedRows:
    """Return the lines that may not be read as they were meant, such as broken front matter."""
    return _recorded_lines(record, file, _PROBLEMS)


def _recorded_lines(record: SourceRecord, file: str, key: str) -> SkippedRows:
    report = _recorded(record, record.report)
    return SkippedRows.from_json(report[key], file) if key in report else SkippedRows()


def had_other_limits(record: SourceRecord) -> bool:
    """Return whether rows of a file were skipped under other limits than apply here, and may be read now."""
    limits = _recorded(record, record.report).get(_LIMITS)
    return limits is not None and limits != str(reading_limits())


def has_collisions(record: SourceRecord) -> bool:
    """Return whether rows of a file were skipped because other files have their ids, which may not last."""
    return bool(_recorded(record, record.report).get(_HAS_COLLISIONS))


def with_collisions(record: SourceRecord) -> SourceRecord:
    """Return the record of a file that other files have taken ids of: it is read again once it is there."""
    return replace(record, report=json.dumps({**_recorded(record, record.report), _HAS_COLLISIONS: True}))


def as_part(record: SourceRecord, previous: SourceRecord | None) -> SourceRecord:
    """Return the record of a file of which the index has a part only, and of which bytes if of one version alone."""
    if previous is not None and not is_part_of(previous, record):
        return replace(record, digest=None)
    report = {**_recorded(record, record.report), _PART_OF: record.digest}
    return replace(record, digest=None, report=json.dumps(report))


def is_part_of(record: SourceRecord, complete: SourceRecord) -> bool:
    """Return whether all that an index has of a file is of the same bytes, cut in the same way, as a complete one."""
    digest = _recorded(record, record.report).get(_PART_OF)
    return digest is not None and (digest, record.splitting) == (complete.digest, complete.splitting)


def is_numbered(record: SourceRecord) -> bool:
    """Return whether the ids of a file number its rows, and have the file as prefix; see `DocumentReader.numbered`."""
    return bool(_recorded(record, record.report).get(_IS_NUMBERED))


def _recorded(record: SourceRecord, text: str) -> dict[str, Any]:
    """Return an object that the index recorded of a file; an empty one for "".

    Raises:
        IndexDamagedError: it is no JSON object.
    """
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise _damaged(record, error) from error
    if not isinstance(value, dict):
        raise _damaged(record, TypeError("not a JSON object"))
    return value


def _damaged(record: SourceRecord, error: Exception) -> IndexDamagedError:
    return index_damaged(f"{record.name}: what the index recorded of this file is damaged ({reason(error)})")
