"""The DuckDB extension that is built with the core: MaxSim over vectors where DuckDB has them in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serotine import _core, maxsim
from serotine.integrations.vector_blobs import BlobFormat

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE = Path(str(_core.__file__)).with_name("serotine.duckdb_extension")


def load(con: DuckDBPyConnection) -> str:
    """Load the extension into a connection's database, with the kernels and threads of this process.

    Returns:
        Why it could not be loaded; "" once it is.
    """
    import duckdb

    if not FILE.is_file():
        return "this build of Serotine has none; it is built on Linux"
    (allowed,) = con.execute("SELECT current_setting('allow_unsigned_extensions')").fetchall()[0]
    if not allowed:
        return (
            "the connection does not load unsigned extensions; connect with config={'allow_unsigned_extensions': True}"
        )
    try:
        con.load_extension(str(FILE))
        cpu = maxsim.capabilities()
        con.execute("SELECT serotine_use($1, $2)", [cpu.current, cpu.threads]).fetchall()
    except duckdb.Error as error:
        return str(error).strip().splitlines()[0]
    return ""


def maxsim_expression(blobs: BlobFormat) -> str:
    """Return MaxSim of `query` and `document` in SQL, by the functions of the extension."""
    settings = f"{blobs.dim or 0}, '{blobs.dtype}'"
    return f"serotine_maxsim(serotine_query(query, {settings}), document, {settings})"
