"""The cost of an update, measured on a sample before anything is stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serotine.ingest.changes import batched, compare_documents
from serotine.ingest.commits import OnProgress
from serotine.ingest.context import StoredContexts
from serotine.ingest.deletions import Deletions
from serotine.ingest.document_reader import DocumentReader
from serotine.ingest.plan import Plan
from serotine.issued_warnings import muted_warnings

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder

_BATCH = 100
_SAMPLE = 256
_SAMPLE_BATCH = 16
_SAMPLE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of an update.

    Attributes:
        documents: documents to encode and store.
        tokens: tokens that will be stored, extrapolated from the sample.
        seconds: time to encode them on this machine, from the sample; 0.0 where there is nothing to encode.
        sample: documents that were encoded to measure it.
    """

    documents: int
    tokens: int
    seconds: float
    sample: int


def estimate(
    plan: Plan,
    reader: DocumentReader,
    encoder: TextEncoder,
    index: Index | None,
    *,
    upsert: bool,
    on_bytes: OnProgress | None,
) -> Estimate:
    """Return the cost of a plan: read its documents again, count their tokens, and encode a sample of them."""
    size = 0
    documents = tokens = 0
    step = max(plan.to_store // _SAMPLE, 1)
    sample: list[str] = []
    for texts in _texts_to_store(plan, reader, index, upsert=upsert):
        tokens += sum(reader.chunker.token_counts(texts))
        # Every nth, because neighbors are often of one length.
        sample += texts[-documents % step :: step]
        documents += len(texts)
        size += sum(len(text.encode(errors="surrogatepass")) for text in texts)
        if on_bytes is not None:
            on_bytes(size, max(plan.bytes_to_store, size))
    if not sample:
        return Estimate(documents, tokens, 0.0, 0)
    # The plan counts the texts that are too long.
    with muted_warnings():
        # The first call of a model is slow.
        encoder.encode_documents(sample[:1])
        started = time.monotonic()
        measured = stored = 0
        while measured < len(sample) and time.monotonic() - started < _SAMPLE_SECONDS:
            vectors = encoder.encode_documents(sample[measured : measured + _SAMPLE_BATCH])
            stored += sum(len(array) for array in vectors)
            measured = min(measured + _SAMPLE_BATCH, len(sample))
        seconds = time.monotonic() - started
    sample_tokens = max(sum(reader.chunker.token_counts(sample[:measured])), 1)
    # An encoder adds special tokens, and may leave out others or pool them.
    return Estimate(documents, round(tokens * stored / sample_tokens), seconds * tokens / sample_tokens, measured)


def _texts_to_store(plan: Plan, reader: DocumentReader, index: Index | None, *, upsert: bool) -> Iterator[list[str]]:
    contexts = StoredContexts(index)
    for change in plan.changes:
        deletions = Deletions.of(index, change.deleted_from)
        for batch in batched(reader.planned(change), _BATCH):
            changes = compare_documents(
                index,
                change.file,
                batch,
                upsert=upsert,
                is_free=change.takes_from,
                deletions=deletions,
                contexts=contexts,
                is_late=reader.is_late,
            )
            if changes.store:
                yield [document.text for document in changes.store]
