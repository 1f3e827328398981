"""JSON Lines: one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.document import Document, from_fields
from serotine.ingest.lines import read_lines
from serotine.nesting import check_nesting


def read_jsonl(path: Path, name: str) -> Iterator[Document]:
    """Yield the documents of a .jsonl or .jsonl.gz file, without blank lines.

    Raises:
        InputFileError: a line is not a JSON object, or not a document.
    """
    for number, line in read_lines(path, name):
        if not line.strip():
            continue
        origin = f"{name}:{number}"
        yield from_fields(_parse(line, origin), origin)


def _parse(line: str, origin: str) -> dict[str, Any]:
    try:
        check_nesting(line)
        value = json.loads(line, parse_constant=_refuse_constant)
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


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
