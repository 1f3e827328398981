"""JSON Lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.lines import decode_line, read_raw_lines
from serotine.ingest.rows import BadRowError, Row
from serotine.nesting import check_nesting


def read_jsonl(path: Path, name: str) -> Iterator[Row | BadRowError]:
    """Yield the objects of a .jsonl or .jsonl.gz file, without blank lines; an error in the place of other lines.

    Raises:
        InputFileError: the file cannot be read.
    """
    for number, line in read_raw_lines(path, name):
        if not line.strip():
            continue
        try:
            yield Row(number, _parse(decode_line(line, name, number), f"{name}:{number}"))
        except InputFileError as error:
            yield BadRowError.of(name, number, error)


def _parse(line: str, origin: str) -> dict[str, Any]:
    try:
        check_nesting(line)
        # NaN and infinity, as pandas writes them, are no JSON: no value, as in Parquet.
        value = json.loads(line, parse_constant=_null)
        # "\ud800" and 1e999 are legal JSON, but a lone surrogate and infinity cannot be stored.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        raise InputFileError(f"{origin}: contains a lone surrogate (\\ud800 to \\udfff); remove it") from None
    except json.JSONDecodeError as error:
        raise InputFileError(
            f"{origin}: not valid JSON ({error.msg} at column {error.colno}); write one object on every line"
        ) from None
    except ValueError as error:
        raise InputFileError(f"{origin}: not valid JSON ({error}); write one object on every line") from None
    if not isinstance(value, dict):
        raise InputFileError(
            f'{origin}: must be a JSON object, got {type(value).__name__}; write {{"_id": ..., "text": ...}}'
        )
    return value


def _null(_: str) -> None:
    return None
