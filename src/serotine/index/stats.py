"""Statistics of an index, summed from its catalog."""

from __future__ import annotations

from serotine.encoders import arithmetic
from serotine.index.results import IndexStats, PooledStats
from serotine.index.search import DEFAULT_POOLED_WEIGHTS
from serotine.index.store import PooledSettings, Snapshot, Store


def index_stats(store: Store) -> IndexStats:
    """Return the counts and sizes of the newest committed state."""
    settings = store.settings
    snapshot = store.snapshot()
    views = list(snapshot.segments.values())
    records = [view.segment.record for view in views]
    documents, deleted = store.catalog.counts()
    coverage = store.catalog.coverage()
    codebooks = store.catalog.codebooks()
    tokens = sum(view.tokens for view in views)
    stored_tokens = sum(record.tokens for record in records)
    in_codes = sum(record.tokens for record in records if record.codes is not None)
    code_bytes = sum(record.codes.bytes for record in records if record.codes is not None)
    size = sum(record.bytes for record in records) + sum(record.file.bytes for record in codebooks.values())
    return IndexStats(
        documents=documents,
        deleted=deleted,
        tokens=tokens,
        deleted_tokens=stored_tokens - tokens,
        dim=settings.dim,
        segments=len(records),
        coded_tokens=sum(view.tokens for view in views if view.segment.record.codes is not None),
        codebooks=len(codebooks),
        centroids=codebooks[max(codebooks)].centroids if codebooks else 0,
        nbits=settings.nbits,
        keep_vectors=settings.keep_vectors,
        filterable=settings.filterable,
        bytes=size,
        code_bytes_per_token=code_bytes / in_codes if in_codes else 0.0,
        catalog_bytes=store.catalog_bytes,
        bytes_per_token=size / stored_tokens if stored_tokens else 0.0,
        encoder=settings.encoder,
        encoder_options=dict(settings.encoder_options),
        format_version=settings.format_version,
        truncated=coverage.truncated,
        unknown=coverage.unknown,
        unknown_scripts=coverage.scripts,
        arithmetic=arithmetic(settings.fingerprint) if settings.fingerprint else None,
        calibration=snapshot.calibration,
        unfinished=list(snapshot.unfinished),
        updating=bool(snapshot.unfinished) and store.has_running_update,
        pooled=_pooled_stats(settings.pooled, snapshot),
    )


def _pooled_stats(pooled: PooledSettings | None, snapshot: Snapshot) -> PooledStats | None:
    if pooled is None:
        return None
    size = sum(record.pooled.bytes for record in snapshot.records if record.pooled is not None)
    fitted = snapshot.pooled_weights
    weights = DEFAULT_POOLED_WEIGHTS if fitted is None else fitted
    return PooledStats(pooled.encoder, pooled.dim, pooled.similarity, weights, fitted is not None, size)
