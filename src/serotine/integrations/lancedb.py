"""Export of an index to a LanceDB database of one table with a multivector column."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from serotine.errors import SerotineError, missing_extra
from serotine.files import replace_folder
from serotine.index import Index
from serotine.integrations.exporting import Export, ExportReport, validate_target
from serotine.integrations.parquet import arrow_batches, arrow_schema

TABLE = "documents"
# These become one fragment of the table: 4,096 documents.
_BATCHES_AT_ONCE = 16


def export_lancedb(index: Index, target: str | Path, *, show_progress: bool = False) -> ExportReport:
    """Write every document of an index to the table "documents" of a new LanceDB database.

    The columns are those of the Parquet export. LanceDB searches multivectors by cosine only, and its distance is the
    number of query tokens minus MaxSim, for vectors of length 1. It never finds a document without tokens.

    Args:
        index: an open index.
        target: a folder that does not exist yet; it appears once it is complete.
        show_progress: draw a bar on standard error.

    Raises:
        SerotineError: `target` exists, its folder does not, or lancedb is not installed.
    """
    try:
        import lancedb
        import pyarrow
    except ImportError:
        raise SerotineError(missing_extra("export to LanceDB", "lancedb")) from None
    export = Export(index, show_progress=show_progress)
    schema = arrow_schema(index.dim)
    with replace_folder(validate_target(target)) as folder:
        table = lancedb.connect(folder).create_table(TABLE, schema=schema)
        # Added in pieces: given a reader, LanceDB would continue in its own thread after Ctrl-C.
        batches = arrow_batches(export, schema)
        while fragment := list(islice(batches, _BATCHES_AT_ONCE)):
            table.add(pyarrow.Table.from_batches(fragment))
        return export.report()
