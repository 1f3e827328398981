"""Metadata as the fields of an index are declared: files often hold as text what is a number or a truth."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from serotine.errors import InputFileError
from serotine.index.store.filters import check_metadata

if TYPE_CHECKING:
    from serotine.ingest.document import Document

_TRUTH = {"true": True, "false": False, "1": True, "0": False}
# Python would also read "1_000", which in a file is as likely a mistake.
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONGEST_SHOWN = 60


def declared(document: Document, filterable: Mapping[str, str]) -> dict[str, Any]:
    """A document's metadata with strings in declared fields, as CSV has them, turned into what was declared.

    An empty string, as of an empty cell, says no value: the field is left out.

    Args:
        document: as it was read.
        filterable: the declared fields with the names of their types.

    Raises:
        InputFileError: a value that is not what its field is declared as, naming file, document and field.
    """
    if not filterable:
        return document.metadata
    metadata = dict(document.metadata)
    for name, kind in filterable.items():
        value = metadata.get(name)
        try:
            if isinstance(value, str) and kind != "str":
                if not value.strip():
                    del metadata[name]
                    continue
                metadata[name] = _said(value.strip(), kind)
            check_metadata({name: kind}, metadata, 0)
        except (TypeError, ValueError):
            shown = repr(value)
            shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
            size = " of 64 bits" if kind == "int" else ""
            raise InputFileError(
                f"{document.origin}: the field {name!r} of {document.id!r} is {shown}, which is no {kind}{size}; "
                "correct it, or make the index with another --filterable"
            ) from None
    return metadata


def _said(value: str, kind: str) -> int | float | bool:
    """What a string says; ValueError where it says no such thing."""
    if kind == "bool":
        if value.lower() not in _TRUTH:
            raise ValueError(value)
        return _TRUTH[value.lower()]
    if kind == "int":
        if not _INTEGER.fullmatch(value):
            raise ValueError(value)
        return int(value)
    number = float(value)
    if "_" in value or not math.isfinite(number):
        raise ValueError(value)
    return number
