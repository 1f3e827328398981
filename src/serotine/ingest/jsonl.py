"""JSON Lines: one object a line."""

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
    """Yields the documents of a .jsonl or .jsonl.gz file; blank lines are skipped.

    Raises:
        InputFileError: a line that is no JSON object, or no document.
    """
    for number, line in read_lines(path, name):
        if not line.strip():
            continue
        origin = f"{name}:{number}"
        yield from_fields(_object(line, origin), origin)


def _object(line: str, origin: str) -> dict[str, Any]:
    try:
        check_nesting(line)
        value = json.loads(line, parse_constant=_refuse_constant)
        # "\ud800" is legal JSON and still no text, 1e999 is and becomes infinity: nothing could store them.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        raise InputFileError(f"{origin}: holds a lone surrogate (\\ud800 to \\udfff), which is no text") from None
    except json.JSONDecodeError as error:
        raise InputFileError(
            f"{origin}: is not JSON ({error.msg} at column {error.colno}); want one object on every line"
        ) from None
    except ValueError as error:
        raise InputFileError(
            f"{origin}: is not JSON that can be kept ({error}); want one object on every line"
        ) from None
    if not isinstance(value, dict):
        raise InputFileError(f'{origin}: is JSON but no object; want {{"_id": ..., "text": ...}} on every line')
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
