"""JSON as files have it, for the readers of JSON and JSON Lines."""

from __future__ import annotations

import json
from typing import Any

from serotine.ingest.limits import reading_limits
from serotine.nesting import check_nesting, count_values


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; NaN and infinity, as pandas writes them, are no JSON: no value, as in Parquet.

    Raises:
        ValueError: it is not valid JSON, nested too deeply, or of too many values; a json.JSONDecodeError names the
            place.
    """
    check_nesting(text)
    most = reading_limits().values
    if count_values(text, most) > most:
        raise ValueError(f"more than {most:,} values")
    return json.loads(text, parse_constant=lambda _: None)


def storage_problem(value: Any, fix: str) -> str | None:
    r"""Return why a value cannot be stored, or None: "\ud800" and 1e999 are legal JSON, but neither can be stored.

    Args:
        value: as `parse_json` returns it.
        fix: what to do about a number that cannot be stored.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return "contains a lone surrogate (\\ud800 to \\udfff); remove it"
    except ValueError as error:
        return f"not valid JSON ({error}); {fix}"
    return None
