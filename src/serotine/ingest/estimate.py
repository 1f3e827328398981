"""The cost of an update, measured on a sample before anything is stored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serotine.index import passage_encoder
from serotine.ingest.changes import batched, compare_documents
from serotine.ingest.commits import OnProgress
from serotine.ingest.context import PassageGroup
from serotine.ingest.deletions import Deletions
from serotine.ingest.document_reader import DocumentReader
from serotine.ingest.encoded_texts import EncodedTexts
from serotine.ingest.plan import Plan
from serotine.ingest.stored_contexts import StoredContexts
from serotine.issued_warnings import muted_warnings

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder
    from serotine.ingest.chunking import Chunker
    from serotine.ingest.document import Document

_BATCH = 100
_SAMPLE, _SAMPLE_OF_UPDATE = 256, 4096
_SAMPLE_BATCH = 16
# For texts that are encoded alone, and as much again for passages in their context.
_SAMPLE_SECONDS = 4.0
# Passages in their context are sampled by so many windows or more, because what these share costs time.
_WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of an update.

    Attributes:
        documents: documents to encode; those whose vectors the index has are not among them.
        tokens: their tokens, as they will be stored, extrapolated from the sample.
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
    """Return the cost of a plan: read its documents again, count their tokens, and encode a sample of them.

    Passages that will be encoded with the text around them (late chunking) are sampled so, a few windows at a time.
    """
    size = documents = alone = in_context = 0
    # Of an index, few of the documents to store may have to be encoded.
    samples = _SAMPLE if index is None else _SAMPLE_OF_UPDATE
    sample = _Sample(max(plan.to_store // samples, 1), _run_length(reader.chunker))
    for batch, stored in _documents_to_encode(plan, reader, index, upsert=upsert):
        counts = reader.chunker.token_counts([document.text for document in batch])
        for document, count in zip(batch, counts, strict=True):
            sample.add(document)
            if document.group is None:
                alone += count
            else:
                in_context += count
        documents += len(batch)
        size += stored
        if on_bytes is not None:
            on_bytes(size, max(plan.bytes_to_store, size))
    # Of few texts of one kind, none may be in the sample.
    if not sample.runs:
        alone, in_context = alone + in_context, 0
    elif not sample.alone:
        alone, in_context = 0, alone + in_context
    # The plan counts the texts that are too long.
    with muted_warnings():
        rates = [
            (alone, _rates_alone(sample.alone, encoder, reader.chunker)),
            (in_context, _rates_in_context(sample.runs, encoder, reader.chunker)),
        ]
    return Estimate(
        documents,
        round(sum(tokens * rate.vectors for tokens, rate in rates)),
        sum(tokens * rate.seconds for tokens, rate in rates),
        sum(rate.sample for _, rate in rates),
    )


@dataclass(slots=True)
class _Run:
    """Consecutive passages of a document that are encoded together.

    Attributes:
        text: from the first one's first character to the last one's last.
        spans: the (start, end) of each in it.
        picked: how many of them the sample has picked.
    """

    text: str
    spans: list[tuple[int, int]]
    picked: int = 1

    @classmethod
    def of(cls, group: PassageGroup, first: int, end: int) -> _Run:
        spans = group.spans[first:end]
        start, offset = spans[0][0], group.spans[0][0]
        text = group.text[start - offset : spans[-1][1] - offset]
        return cls(text, [(begin - start, end - start) for begin, end in spans])


class _Sample:
    """Every nth document, because neighbors are often of one length.

    Args:
        step: n.
        run_length: passages that are encoded with one that is picked, if it has a context: it and those after it.
    """

    def __init__(self, step: int, run_length: int) -> None:
        self.alone: list[str] = []
        self.runs: list[_Run] = []
        self._step = step
        self._run_length = run_length
        self._count = 0
        self._group: PassageGroup | None = None
        self._end = 0

    def add(self, document: Document) -> None:
        """Pick the document if it is the next nth."""
        if self._count % self._step == 0:
            self._pick(document)
        self._count += 1

    def _pick(self, document: Document) -> None:
        group = document.group
        if group is None:
            self.alone.append(document.text)
        elif group is self._group and document.place < self._end:
            self.runs[-1].picked += 1
        else:
            self._group, self._end = group, document.place + self._run_length
            self.runs.append(_Run.of(group, document.place, self._end))


@dataclass(frozen=True, slots=True)
class _Rates:
    """What a token of the texts costs.

    Attributes:
        vectors: vectors stored of it: an encoder adds special tokens, and may leave out others or pool them.
        seconds: time to encode it.
        sample: documents that were encoded to measure it.
    """

    vectors: float = 0.0
    seconds: float = 0.0
    sample: int = 0


def _rates_alone(texts: Sequence[str], encoder: TextEncoder, chunker: Chunker) -> _Rates:
    if not texts:
        return _Rates()
    # The first call of a model is slow.
    encoder.encode_documents(texts[:1])
    started = time.monotonic()
    measured = stored = 0
    while measured < len(texts) and time.monotonic() - started < _SAMPLE_SECONDS:
        vectors = encoder.encode_documents(texts[measured : measured + _SAMPLE_BATCH])
        stored += sum(map(len, vectors))
        measured = min(measured + _SAMPLE_BATCH, len(texts))
    seconds = time.monotonic() - started
    tokens = max(sum(chunker.token_counts(texts[:measured])), 1)
    return _Rates(stored / tokens, seconds / tokens, measured)


def _rates_in_context(runs: Sequence[_Run], encoder: TextEncoder, chunker: Chunker) -> _Rates:
    """Return the mean rates of the runs, each as often as it was picked: longer ones are not of more weight."""
    if not runs:
        return _Rates()
    encode = passage_encoder(encoder)
    encode(runs[0].text, runs[0].spans[:1], allow_empty=True)
    picked = passages = 0
    vectors = seconds = spent = 0.0
    for run in runs:
        if spent >= _SAMPLE_SECONDS:
            break
        started = time.monotonic()
        rows = encode(run.text, run.spans, allow_empty=True)
        taken = time.monotonic() - started
        tokens = max(sum(chunker.token_counts([run.text[start:end] for start, end in run.spans])), 1)
        vectors += run.picked * sum(map(len, rows)) / tokens
        seconds += run.picked * taken / tokens
        spent += taken
        picked += run.picked
        passages += len(run.spans)
    return _Rates(vectors / picked, seconds / picked, passages)


def _run_length(chunker: Chunker) -> int:
    """Return how many passages are sampled together."""
    room = getattr(chunker.encoder, "document_room", None) or 0
    return max(_SAMPLE_BATCH, _WINDOWS * room // (chunker.chunking.tokens or 1))


def _documents_to_encode(
    plan: Plan, reader: DocumentReader, index: Index | None, *, upsert: bool
) -> Iterator[tuple[list[Document], int]]:
    """Yield the documents to encode, in batches, with the size of all documents to store."""
    contexts, encoded = StoredContexts(index), EncodedTexts(index)
    for change in plan.changes:
        deletions = Deletions.of(index, change.deleted_from)
        is_late = reader.is_late(change.file)
        has_context = contexts.of(change.record, is_late=is_late)
        find_same_text = encoded.of(change, is_late=is_late)
        for batch in batched(reader.planned(change), _BATCH):
            changes = compare_documents(
                index,
                change.file,
                batch,
                upsert=upsert,
                is_free=change.takes_from,
                deletions=deletions,
                has_context=has_context,
            )
            if changes.store:
                new = [document for document in changes.store if find_same_text(document) is None]
                yield new, sum(document.size for document in changes.store)
