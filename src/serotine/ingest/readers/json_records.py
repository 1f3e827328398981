"""JSON: an array of objects, an object that holds one, or one object; each object is a document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.decoding import decode
from serotine.ingest.fields import STANDARD, Fields
from serotine.ingest.limits import reading_limits
from serotine.ingest.lines import read_whole
from serotine.ingest.readers.json_text import parse_json, storage_problem
from serotine.ingest.rows import BadRowError, Problem, ReadRow, Row, SkippedRow


def read_json(path: Path, name: str, fields: Fields = STANDARD) -> Iterator[ReadRow]:
    """Yield the objects of a .json file, numbered from 1; an error in the place of what is not an object.

    Raises:
        InputFileError: it is not valid JSON, too large, or neither an object nor an array.
    """
    data = read_whole(path, name, reading_limits().record_bytes)
    text, encoding = decode(data, name, given=fields.encoding)
    if not text.strip():
        return
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        raise InputFileError(
            f"{name}:{error.lineno}: not valid JSON ({error.msg} at column {error.colno}); correct it"
        ) from None
    except ValueError as error:
        raise InputFileError(f"{name}: not valid JSON ({error}); correct it") from None
    yield from (Problem(line, reason) for line, reason in encoding.problems)
    for number, record in enumerate(_records(value, name, fields), 1):
        yield _row(record, name, number, encoding.metadata)


def _records(value: Any, name: str, fields: Fields) -> list[Any]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise InputFileError(f"{name}: must be an object or an array of objects, got {type(value).__name__}")
    lists = [field for field in value.values() if isinstance(field, list)]
    arrays = [field for field in lists if field and all(isinstance(item, dict) for item in field)]
    # An element that is no object is a bad row, and does not hide the others.
    arrays = arrays or [field for field in lists if any(isinstance(item, dict) for item in field)]
    # {"version": 1, "records": [...]}; a document may have a list of objects, too.
    return arrays[0] if len(arrays) == 1 and not fields.is_header(value) else [value]


def _row(record: Any, name: str, number: int, place: Mapping[str, Any]) -> Row | BadRowError:
    if not isinstance(record, dict):
        return BadRowError(SkippedRow(name, number, f"must be an object, got {type(record).__name__}"))
    if problem := storage_problem(record, "correct it"):
        return BadRowError(SkippedRow(name, number, problem))
    return Row(number, record, place)
