"""Validation of texts, the same wherever they enter."""

from __future__ import annotations

import unicodedata

from serotine.errors import is_list, no_list, wrong_type

# Encoders read far less of a query; what is longer is a document.
MAX_QUERY_CHARACTERS = 1 << 16
# The longest novels have half as many; files have limits of their own.
MAX_TEXT_CHARACTERS = 8 << 20
# Of an id, in UTF-8. Paths, which ids of files begin with, have at most 4,096.
MAX_ID_BYTES = 1 << 16

# Of the metadata of a document, the names of fields included: every filter on a field that is not declared reads them.
MAX_METADATA_CHARACTERS = 1 << 20


def is_text(value: str) -> bool:
    """Return whether UTF-8 can encode `value`; a Python string may contain lone surrogates, which it cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_long_id(id_: str) -> bool:
    """Return whether an id has more than `MAX_ID_BYTES`."""
    # A character has at most four bytes.
    return len(id_) > MAX_ID_BYTES // 4 and len(id_.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES


def has_visible(text: str) -> bool:
    """Return whether a text has a character to read: one that is no white space, control or format character."""
    return any(character.isprintable() and not character.isspace() for character in text)


def strings(values: object, name: str) -> list[str]:
    """Return `values` as a list of strings.

    Args:
        values: any iterable of strings, except a string, and a dict, whose keys would be taken.
        name: the argument's name, for messages.

    Raises:
        TypeError: `values` is not a list of strings.
        ValueError: a string contains a lone surrogate.
    """
    if not is_list(values):
        raise no_list(name, "strings", values)
    result = list(values)
    for i, value in enumerate(result):
        if not isinstance(value, str):
            raise wrong_type(f"{name}[{i}]", "a string", value)
        if not is_text(value):
            raise ValueError(f"{name}[{i}]: contains a lone surrogate; decode its source as UTF-8")
    return result


def printable(text: str) -> str:
    """Return `text` with every control character and line break as a space: the same length, safe on a terminal."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character for character in text)
