"""Metadata converted to the declared types of an index: files often hold numbers and booleans as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from serotine.errors import InputFileError, shown_id
from serotine.index import check_metadata
from serotine.json_values import json_value, metadata_problem
from serotine.texts import MAX_ID_BYTES, MAX_METADATA_CHARACTERS
from serotine.wording import worded

if TYPE_CHECKING:
    from serotine.ingest.document import Document

_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
# Python also reads "1_000", which in a file is more likely a mistake. A column with gaps is one of floats in pandas.
_INTEGER = re.compile(r"([+-]?[0-9]+)(?:\.0+)?")
_MAX_SHOWN = 60
# The index adds to those of a passage the id of its document, and the file the document's own.
_MAX_CHARACTERS = MAX_METADATA_CHARACTERS - 2 * MAX_ID_BYTES


def convert_metadata(document: Document, filterable: Mapping[str, str]) -> dict[str, Any]:
    """Return a document's metadata as JSON has them, with strings in declared fields converted to their types.

    CSV has all values as strings. An empty string, such as an empty cell, means no value: the field is left out.

    Args:
        document: as it was read.
        filterable: the declared fields with the names of their types.

    Raises:
        InputFileError: JSON has no such value, or it does not have the declared type; names the file, the document and
            the field.
    """
    try:
        metadata: dict[str, Any] = json_value(document.metadata, f"metadata of {shown_id(document.id)}")
    except (TypeError, ValueError) as error:
        raise InputFileError(f"{document.origin}: {error}") from None
    if problem := metadata_problem(metadata, _MAX_CHARACTERS):
        raise InputFileError(f"{document.origin}: metadata of {shown_id(document.id)}: {problem}")
    for name, kind in filterable.items():
        value = metadata.get(name)
        try:
            if isinstance(value, str) and kind != "str":
                if not value.strip():
                    del metadata[name]
                    continue
                metadata[name] = _convert(value.strip(), kind)
            elif isinstance(value, float) and kind == "int" and value.is_integer():
                metadata[name] = int(value)
            check_metadata({name: kind}, metadata, 0)
        except (TypeError, ValueError):
            shown = repr(value)
            shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
            expected = "a 64-bit int" if kind == "int" else f"a {kind}"
            other = worded("another type in filterable", http="another type for it", command="another --filterable")
            raise InputFileError(
                f"{document.origin}: field {name!r} of {shown_id(document.id)} must be {expected}, got {shown}; "
                f"correct it, or create the index with {other}"
            ) from None
    return metadata


def _convert(value: str, kind: str) -> int | float | bool:
    """Convert a string; ValueError where it is not of that type."""
    if kind == "bool":
        if value.lower() not in _BOOLEANS:
            raise ValueError(value)
        return _BOOLEANS[value.lower()]
    if kind == "int":
        match = _INTEGER.fullmatch(value)
        if match is None:
            raise ValueError(value)
        return int(match[1])
    number = float(value)
    if "_" in value or not math.isfinite(number):
        raise ValueError(value)
    return number
