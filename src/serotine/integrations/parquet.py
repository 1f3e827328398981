"""An index as one Parquet file, read by pyarrow, pandas, Polars, DuckDB, Spark: a row a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serotine.index import Index
from serotine.integrations.exporting import Batch, Export, Exported, building, missing

if TYPE_CHECKING:
    import pyarrow


def export(index: Index, target: str | Path, *, show_progress: bool = False) -> Exported:
    """Writes every document of an index to a new Parquet file.

    The columns: `id` (string), `text` (string, null where only vectors were added), `metadata` (string, a JSON
    object), `vectors` (list of fixed-size lists of `Index.dim` float16, one a token).

    Args:
        index: an open index.
        target: a file that does not exist yet; it appears when it is whole.
        show_progress: draw a bar on standard error.

    Raises:
        SerotineError: something stands at `target`, or pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise missing(error, "Parquet", "parquet") from None
    work = Export(index, show_progress=show_progress)
    fields = schema(index.dim)
    with building(Path(target)) as path:
        with pyarrow.parquet.ParquetWriter(path, fields) as writer:
            for batch in record_batches(work, fields):
                writer.write_batch(batch)
        return work.result()


def schema(dim: int) -> pyarrow.Schema:
    """The columns, for vectors of `dim` dimensions."""
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


def record_batches(work: Export, fields: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    """The documents as Arrow record batches."""
    for batch in work.batches():
        yield _record_batch(batch, fields)


def _record_batch(batch: Batch, fields: pyarrow.Schema) -> pyarrow.RecordBatch:
    import pyarrow

    vector = fields.field("vectors").type.value_type
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
        schema=fields,
    )
