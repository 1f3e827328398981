"""Write a DuckDB extension: a shared library followed by the footer that DuckDB reads before it loads it.

    python append_footer.py LIBRARY EXTENSION PLATFORM API_VERSION EXTENSION_VERSION

The footer is 8 fields of 32 bytes, the last field first, and 256 bytes for a signature, which stay empty.
"""

from __future__ import annotations

import sys
from pathlib import Path

FIELD_BYTES, SIGNATURE_BYTES = 32, 256
# What DuckDB calls a footer of this form, and an extension that gets the C API as a table.
FORM, ABI = "4", "C_STRUCT"


def main(library: str, extension: str, platform: str, api_version: str, extension_version: str) -> None:
    """Write the file."""
    fields = (FORM, platform, api_version, extension_version, ABI, "", "", "")
    footer = b"".join(field.encode("ascii").ljust(FIELD_BYTES, b"\0") for field in reversed(fields))
    Path(extension).write_bytes(Path(library).read_bytes() + footer + bytes(SIGNATURE_BYTES))


if __name__ == "__main__":
    main(*sys.argv[1:])
