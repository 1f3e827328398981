"""Documents made ready to be stored: validated, measured, long texts split, and what they replace in the index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import CoverageReport
from serotine.cutting import PassageContext
from serotine.errors import DuplicateIdError, ReplacedPassageWarning, first_and_count
from serotine.index import documents
from serotine.index.documents import DocumentBatch
from serotine.index.files import DocumentVectors
from serotine.index.long_texts import (
    LongTexts,
    MeasuredTexts,
    measure_texts,
    refuse_long_texts,
    require_coverage,
    split_texts,
)
from serotine.index.metadata_change import of_passage, passage_fields
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.store import CoverageRow, Store, passage_origin
from serotine.issued_warnings import issue_warning
from serotine.wording import worded


@dataclass(frozen=True, slots=True)
class PreparedDocuments:
    """Documents that are ready to be stored.

    Attributes:
        documents: validated, long texts split where that was asked for.
        replaced: numbers of the documents that they replace.
        coverage: rows of the texts that the encoder does not read whole, or does not know the words of.
        report: the counts of these.
        contexts: what each text is encoded in, None for one that is encoded alone; empty where all are.
        copied: stored vectors of the same texts; None where a text has to be encoded; empty where none are copied.
    """

    documents: DocumentBatch
    replaced: list[int]
    coverage: list[CoverageRow]
    report: CoverageReport
    contexts: Sequence[PassageContext | None] = ()
    copied: Sequence[DocumentVectors | None] = ()

    @property
    def reused(self) -> int:
        """Number of texts that are not encoded."""
        return sum(vectors is not None for vectors in self.copied)


class Preparation:
    """Prepares documents of one store; nothing is written.

    Args:
        store: the index; it must be open for writing.
        encoder: measures texts.
    """

    def __init__(self, store: Store, encoder: RecordedEncoder) -> None:
        self._store = store
        self._encoder = encoder

    def prepare(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        pooled: object = None,
        *,
        upsert: bool,
        long_texts: LongTexts = "warn",
        replace_passages: bool = True,
        displaced: Sequence[str] = (),
    ) -> PreparedDocuments:
        """Validate documents and measure their texts; split those that are too long, or refuse them.

        `replace_passages`: whether the passages of these documents that are in the index are replaced too; `displaced`:
        ids of other documents that they replace.
        """
        store = self._store
        store.require_writer()
        batch = self._validated(ids, texts, vectors, metadata, pooled)
        passages = store.catalog.passages(batch.ids) if replace_passages else {}
        replaced = store.catalog.live_ids([*batch.ids, *displaced])
        if not upsert:
            refuse_existing([id_ for id_ in batch.ids if id_ in replaced or id_ in passages])
        documents.warn_about_empty_texts(batch)
        kept = self._passages_replaced_alone(replaced, set(batch.ids)) if replaced and replace_passages else {}
        measured = MeasuredTexts()
        if batch.ids and batch.vectors is None:
            encoder = self._encoder.get()
            require_coverage(encoder, long_texts)
            measured = measure_texts(encoder, batch.ids, batch.stored_texts)
            if long_texts == "error":
                refuse_long_texts(measured, encoder)
            if long_texts == "split" and measured.report.truncated:
                if batch.pooled is not None:
                    raise ValueError(
                        "pooled: a text that is split needs a vector for each of its passages; leave pooled out where "
                        "the index has a model, or split the texts before"
                    )
                fields = [{}] * len(batch.ids) if metadata is None else metadata
                split_ids, split, split_metadata = split_texts(batch.ids, batch.stored_texts, fields, measured, encoder)
                given = set(batch.ids)
                batch = self._validated(split_ids, split, None, split_metadata, None)
                passage_ids = [id_ for id_ in batch.ids if id_ not in given]
                existing = store.catalog.live_ids(passage_ids)
                if not upsert:
                    refuse_existing([id_ for id_ in passage_ids if id_ in existing])
                of_documents = {id_ for by_id in passages.values() for id_ in by_id}
                if unrelated := [id_ for id_ in existing if id_ not in of_documents]:
                    raise DuplicateIdError(
                        f"ids: {first_and_count(unrelated)} is a document of its own, and would become a passage of a "
                        "long text; delete it, or give the text another id"
                    )
                measured = measure_texts(encoder, batch.ids, batch.stored_texts)
        numbers = {*replaced.values(), *(number for by_id in passages.values() for number in by_id.values())}
        for i, id_ in enumerate(batch.ids):
            if id_ in kept:
                metadata_of = of_passage(json.loads(batch.metadata[i]), kept[id_])
                batch.metadata[i] = documents.metadata_text(metadata_of)
        return PreparedDocuments(batch, sorted(numbers), measured.rows, measured.report)

    def _passages_replaced_alone(self, replaced: Mapping[str, int], ids: set[str]) -> dict[str, dict[str, Any]]:
        """Warn about passages of a split document that are replaced under their ids, without the others.

        Returns the fields that they keep by id, to be passages of it still.
        """
        suspects = [number for id_, number in replaced.items() if id_.rpartition("#")[2].isdecimal()]
        rows = self._store.catalog.rows(suspects).values() if suspects else ()
        documents_of = {row.id: passage_origin(row.id, row.metadata) for row in rows}
        passages = [id_ for id_, document in documents_of.items() if document is not None and document not in ids]
        if passages:
            first = passages[0]
            issue_warning(
                ReplacedPassageWarning(
                    f"ids: {len(passages):,} of {len(ids):,} replace a passage of a long text, the first is {first!r} "
                    f"of {documents_of[first]!r}; to replace the whole text, add it under its own id"
                )
            )
        return {row.id: passage_fields(row) for row in rows if row.id in passages}

    def _validated(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None,
        metadata: Sequence[dict[str, Any]] | None,
        pooled: object,
    ) -> DocumentBatch:
        return documents.validate_documents(
            ids,
            texts,
            vectors,
            metadata,
            settings=self._store.settings,
            pooled=pooled,
        )


def refuse_existing(ids: Sequence[str]) -> None:
    """Raise DuplicateIdError for ids that are in the index, if there are any."""
    if ids:
        fix = worded("pass upsert=True to replace it", http="set upsert to true to replace it")
        raise DuplicateIdError(f"ids: {first_and_count(ids)} is already in the index; {fix}")
