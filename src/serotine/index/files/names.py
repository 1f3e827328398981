"""The names of files of an index: a random number and the kind. Nothing else that a catalog names is opened."""

from __future__ import annotations

import re
import uuid

VECTORS, CODES, CODEBOOK, POOLED = "vectors", "codes", "codebook", "pooled"
# Names are joined to folders: a path, or a name of anything else, must not pass.
FILE_NAME = rf"[0-9a-f]{{32}}\.({VECTORS}|{CODES}|{CODEBOOK}|{POOLED})"
_FILE_NAME = re.compile(FILE_NAME)


def new_name(kind: str) -> str:
    """Return a name for a new file that was never used."""
    return f"{uuid.uuid4().hex}.{kind}"


def is_name(name: object, kind: str) -> bool:
    """Return whether `name` is that of a file of a kind, as `new_name` returns it."""
    match = _FILE_NAME.fullmatch(name) if isinstance(name, str) else None
    return match is not None and match[1] == kind
