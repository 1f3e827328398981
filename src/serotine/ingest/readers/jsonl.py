"""JSON Lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.decoding import Encoding, decode_line, read_encoded_lines
from serotine.ingest.fields import STANDARD, Fields
from serotine.ingest.lines import read_raw_lines
from serotine.ingest.readers.json_text import parse_json, storage_problem
from serotine.ingest.rows import BadRowError, ReadRow, Row


def read_jsonl(path: Path, name: str, fields: Fields = STANDARD) -> Iterator[ReadRow]:
    """Yield the objects of a .jsonl or .jsonl.gz file, without blank lines; an error in the place of other lines.

    Raises:
        InputFileError: the file cannot be read, or is not in the encoding of `fields`.
    """
    if fields.encoding is not None:
        yield from _read_encoded(path, name, fields.encoding)
        return
    for number, line in read_raw_lines(path, name):
        if not line.strip():
            continue
        try:
            yield Row(number, _parse(decode_line(line, name, number), f"{name}:{number}"))
        except InputFileError as error:
            yield BadRowError.of(name, number, error)


def _read_encoded(path: Path, name: str, encoding: str) -> Iterator[ReadRow]:
    place = Encoding(encoding).metadata
    for number, line in read_encoded_lines(path, name, encoding):
        if not line.strip():
            continue
        try:
            yield Row(number, _parse(line, f"{name}:{number}"), place)
        except InputFileError as error:
            yield BadRowError.of(name, number, error)


def _parse(line: str, origin: str) -> dict[str, Any]:
    fix = "write one object on every line"
    try:
        value = parse_json(line)
    except json.JSONDecodeError as error:
        raise InputFileError(f"{origin}: not valid JSON ({error.msg} at column {error.colno}); {fix}") from None
    except ValueError as error:
        raise InputFileError(f"{origin}: not valid JSON ({error}); {fix}") from None
    if problem := storage_problem(value, fix):
        raise InputFileError(f"{origin}: {problem}")
    if not isinstance(value, dict):
        raise InputFileError(
            f'{origin}: must be a JSON object, got {type(value).__name__}; write {{"_id": ..., "text": ...}}'
        )
    return value
