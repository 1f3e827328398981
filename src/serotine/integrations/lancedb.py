"""An index as a LanceDB database of one table with a multivector column."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from serotine.index import Index
from serotine.integrations.exporting import Export, Exported, building, missing
from serotine.integrations.parquet import record_batches, schema

TABLE = "documents"
# A piece becomes one fragment of the table: 4,096 documents.
_BATCHES_AT_ONCE = 16


def export(index: Index, target: str | Path, *, show_progress: bool = False) -> Exported:
    """Writes every document of an index to the table "documents" of a new LanceDB database.

    The columns are those of the Parquet export. LanceDB searches multivectors by cosine only, and its distance is the
    number of query tokens less MaxSim, for vectors of length 1. A document without tokens it never finds.

    Args:
        index: an open index.
        target: a folder that does not exist yet; it appears when it is whole.
        show_progress: draw a bar on standard error.

    Raises:
        SerotineError: something stands at `target`, or lancedb is not installed.
    """
    try:
        import lancedb
        import pyarrow
    except ImportError as error:
        raise missing(error, "LanceDB", "lancedb") from None
    work = Export(index, show_progress=show_progress)
    fields = schema(index.dim)
    with building(Path(target)) as path:
        table = lancedb.connect(path).create_table(TABLE, schema=fields)
        # Added piece by piece from here: handed a reader, LanceDB would go on with it in its own thread after Ctrl-C.
        batches = record_batches(work, fields)
        while piece := list(islice(batches, _BATCHES_AT_ONCE)):
            table.add(pyarrow.Table.from_batches(piece))
        return work.result()
