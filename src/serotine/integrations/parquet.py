"""Export of an index to one Parquet file with a row per document, for pyarrow, pandas, Polars, DuckDB, Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serotine.errors import SerotineError, missing_extra
from serotine.files import atomic_file
from serotine.index import Index
from serotine.integrations.exporting import Batch, Export, ExportReport, validate_target

if TYPE_CHECKING:
    import pyarrow


def export_parquet(index: Index, target: str | Path, *, show_progress: bool = False) -> ExportReport:
    """Write every document of an index to a new Parquet file.

    The columns: `id` (string), `text` (string, null where only vectors were added), `metadata` (string, a JSON
    object), `vectors` (list of fixed-size lists of `Index.dim` float16, one per token).

    Args:
        index: an open index.
        target: a file that does not exist yet; it appears once it is complete.
        show_progress: draw a bar on standard error.

    Raises:
        SerotineError: `target` exists, its folder does not, or pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise SerotineError(missing_extra("export to Parquet", "parquet")) from None
    export = Export(index, show_progress=show_progress)
    schema = arrow_schema(index.dim)
    with atomic_file(validate_target(target)) as file:
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for batch in arrow_batches(export, schema):
                writer.write_batch(batch)
        return export.report()


def arrow_schema(dim: int) -> pyarrow.Schema:
    """Return the columns, for vectors of `dim` dimensions."""
    import pyarrow

    vector = pyarrow.list_(pyarrow.float16(), dim)
    return pyarrow.schema(
        [
            pyarrow.field("id", pyarrow.string(), nullable=False),
            pyarrow.field("text", pyarrow.string()),
            pyarrow.field("metadata", pyarrow.string(), nullable=False),
            pyarrow.field("vectors", pyarrow.list_(vector), nullable=False),
        ]
    )


def arrow_batches(export: Export, schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    """Yield the documents as Arrow record batches."""
    for batch in export.batches():
        yield _arrow_batch(batch, schema)


def _arrow_batch(batch: Batch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    import pyarrow

    vector = schema.field("vectors").type.value_type
    offsets = np.cumsum([0, *map(len, batch.vectors)], dtype=np.int32)
    values = pyarrow.array(np.concatenate(batch.vectors).reshape(-1), type=vector.value_type)
    rows = pyarrow.FixedSizeListArray.from_arrays(values, vector.list_size)
    return pyarrow.record_batch(
        [
            pyarrow.array([document.id for document in batch.documents], type=pyarrow.string()),
            pyarrow.array([document.text for document in batch.documents], type=pyarrow.string()),
            pyarrow.array(
                [json.dumps(document.metadata, ensure_ascii=False) for document in batch.documents],
                type=pyarrow.string(),
            ),
            pyarrow.ListArray.from_arrays(pyarrow.array(offsets), rows),
        ],
        schema=schema,
    )
