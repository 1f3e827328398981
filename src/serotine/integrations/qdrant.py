"""Export of an index to a Qdrant Edge shard with one multivector per point."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serotine.errors import SerotineError, missing_extra
from serotine.files import replace_folder
from serotine.index import Index
from serotine.integrations.exporting import Export, ExportReport, validate_target

VECTOR = "tokens"


def export_qdrant(index: Index, target: str | Path, *, show_progress: bool = False) -> ExportReport:
    """Write every document of an index to a new Qdrant Edge shard.

    A point's number is the document's position; its payload has `id`, `text` and `metadata`. Its vector "tokens" is a
    float16 multivector compared by MaxSim over dot products. Scores are Serotine's, except that Qdrant rounds the query
    to float16 too. A document without tokens becomes a point without a vector, which only its payload finds.

    Args:
        index: an open index.
        target: a folder that does not exist yet; it appears once it is complete.
        show_progress: draw a bar on standard error.

    Raises:
        SerotineError: `target` exists, its folder does not, or qdrant-edge-py is not installed.
    """
    try:
        import qdrant_edge as qdrant
    except ImportError:
        raise SerotineError(missing_extra("export to Qdrant", "qdrant")) from None
    export = Export(index, show_progress=show_progress)
    multivector = qdrant.EdgeVectorParams(
        size=index.dim,
        distance=qdrant.Distance.Dot,
        datatype=qdrant.VectorStorageDatatype.Float16,
        multivector_config=qdrant.MultiVectorConfig(qdrant.MultiVectorComparator.MaxSim),
    )
    with replace_folder(validate_target(target)) as folder:
        shard = qdrant.EdgeShard.create(str(folder), qdrant.EdgeConfig(vectors={VECTOR: multivector}))
        try:
            number = 0
            for batch in export.batches():
                points = []
                for document, vectors in zip(batch.documents, batch.vectors, strict=True):
                    vector = {VECTOR: vectors.astype(np.float32).tolist()} if len(vectors) else {}
                    payload = {"id": document.id, "text": document.text, "metadata": document.metadata}
                    points.append(qdrant.Point(id=number, vector=vector, payload=payload))
                    number += 1
                shard.update(qdrant.UpdateOperation.upsert_points(points))
            shard.flush()
        finally:
            shard.close()
        return export.report()
