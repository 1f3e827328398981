"""The changes of an index: documents added, replaced, deleted, and rewritten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import check_flags, is_list, no_list
from serotine.index.long_texts import LongTexts
from serotine.index.results import SourcesReport
from serotine.index.store import SourceUpdate
from serotine.index.upkeep import Upkeep
from serotine.index.writer import Writer


class IndexChanges(Upkeep):
    """The half of `Index` that changes it. Every change is one transaction."""

    _writer: Writer

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool = False,
        long_texts: LongTexts = "warn",
        pooled: NDArray[np.floating[Any]] | Sequence[NDArray[np.floating[Any]]] | None = None,
        show_progress: bool = False,
    ) -> None:
        """Add documents: all of them, or, if anything is wrong, none.

        Args:
            ids: one non-empty string per document.
            texts: texts to encode, which hits return.
            vectors: instead of encoding: float (tokens, dim) per document, stored as float16; may have no tokens.
            metadata: one dict per document. Dates and datetimes are stored as ISO 8601 text, with a time zone in UTC;
                NaN as null; scalars of NumPy and pandas as Python's. docs/indexes.md lists the values.
            upsert: replace documents whose ids are in the index; otherwise such an id is an error. The passages of a
                document are replaced with it, also where it is no longer split; replacing a single passage warns.
            long_texts: what happens to texts that are longer than the encoder reads. "warn" and "truncate" store them
                whole, but their end is not searched; "split" stores them as passages `ID#1`, `ID#2`, ... with the
                metadata "document" (the id), "start" and "end" (characters); "error" adds nothing.
            pooled: of an index created with `pooled`: one vector per document, float (documents, dimension), stored as
                float16 and, of a model that compares by cosine, scaled to length 1. Unless given, the index's model
                encodes the texts; where it has no model, or there are no texts, they are needed.
            show_progress: show a progress bar on standard error.

        Raises:
            DuplicateIdError: an id occurs twice in the call, or is in the index and `upsert` is False.
            ValueError, TypeError: names the argument and the position.
            ReadOnlyError: the index was opened with ``read_only=True``.

        Warns:
            TruncatedTextWarning, UnknownTextWarning: texts are too long, or more than 20% outside the vocabulary.
            ReplacedPassageWarning: `upsert` replaces one passage of a long text, which stays a passage of it.
        """
        check_flags(upsert=upsert, show_progress=show_progress)
        self._writer.add(ids, texts, vectors, metadata, upsert, long_texts, pooled=pooled, show_progress=show_progress)

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        *,
        upsert: bool = False,
        expected_documents: int | None = None,
        long_texts: LongTexts = "warn",
        show_progress: bool = False,
    ) -> int:
        """Add a stream of documents in bounded memory, one transaction per batch; return how many were added.

        It can be interrupted at any time: committed batches stay, and the same call with the same stream resumes,
        because documents that are already in the index are skipped.

        Args:
            batches: arguments of `add` as dicts: ``{"ids": [...], "texts": [...]}``, some thousand documents each.
            upsert: replace documents that are in the index instead of skipping them.
            expected_documents: size of the final collection, if known: the codebook is then trained once, for that
                size, when enough of the stream has arrived, and segments are merged less often, so that searches are
                slower until the stream ends.
            long_texts: as in `add`; warnings come once, at the end.
            show_progress: show a progress bar on standard error, of `expected_documents` in total.

        Raises:
            Every error of `add`, for the batch that is wrong; the batches before it stay.
        """
        check_flags(upsert=upsert, show_progress=show_progress)
        if not is_list(batches):
            raise no_list("batches", "dicts", batches)
        return self._writer.add_batches(batches, upsert, expected_documents, long_texts, show_progress=show_progress)

    def update_sources(
        self,
        updates: Sequence[SourceUpdate],
        *,
        removed: Sequence[str] = (),
        expected_documents: int | None = None,
        staged: SourceUpdate | None = None,
        show_progress: bool = False,
    ) -> SourcesReport:
        """Bring the documents of files up to date in one transaction; `serotine.ingest` plans the updates.

        Args:
            updates: the changes to every file's documents.
            removed: names of sources to remove, with all their documents.
            expected_documents: size of the index at the end of the run, as in `add_batches`; None ends the run, and
                discards what is still staged.
            staged: documents of a file to store ahead of its update; no search returns them until that update names
                their ids in `SourceUpdate.staged`.
            show_progress: show the progress of maintenance on standard error.

        Nothing warns of texts that the encoder does not read whole or does not know: the report counts them.

        Raises:
            Every error of `add`.
        """
        check_flags(show_progress=show_progress)
        return self._writer.update_sources(updates, removed, expected_documents, staged, show_progress=show_progress)

    def compact(self, *, show_progress: bool = False) -> None:
        """Rewrite the index without deleted documents, in as few segments as possible.

        Where vectors are stored, a codebook that the collection has outgrown is retrained and everything is encoded
        with the new one. Searches continue meanwhile; it can be interrupted at any time. On a full disk it removes the
        deleted documents segment by segment, and issues a MaintenanceWarning if the segments cannot be merged.

        Raises:
            ReadOnlyError: the index was opened with ``read_only=True``.
            OSError: the disk has no space for the smallest segment without its deleted documents.
        """
        check_flags(show_progress=show_progress)
        self._writer.compact(show_progress=show_progress)

    def set_pooled_weights(self, late: float, pooled: float) -> None:
        """Record the weights of mode "pooled", in one transaction; searches without weights of their own use them.

        `serotine.evaluation.fit_pooled_weights` fits them on judged queries.

        Args:
            late: of MaxSim per query token.
            pooled: of the similarity of the pooled vectors; 0 ranks by MaxSim alone.

        Raises:
            ValueError, TypeError: the index stores no pooled vectors; a negative weight, or both 0.
            ReadOnlyError: the index was opened with ``read_only=True``.

        >>> import tempfile
        >>> import numpy as np
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2, pooled=2) as index:
        ...     index.add(ids=["apple", "pear"], vectors=[np.eye(2)] * 2, pooled=np.eye(2))
        ...     index.set_pooled_weights(1, 0.5)
        ...     hits = index.search(np.eye(2), mode="pooled", pooled=np.array([0.0, 1.0]))
        >>> [(hit.id, hit.score) for hit in hits]
        [('pear', 1.5), ('apple', 1.0)]
        """
        self._writer.set_pooled_weights(late, pooled)

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Delete documents, by id or by a filter, in one transaction; return how many.

        Args:
            ids: the ids; if one is not in the index, nothing is deleted. The id of a document that was split, or
                the name of a file, means its passages, which count one each.
            where: instead of ids: a filter on metadata, as for `search`. It may match nothing.

        Raises:
            UnknownIdError: an id is not in the index.
            ValueError, TypeError: neither or both of `ids` and `where`; an invalid filter, or unknown fields.
            ReadOnlyError: the index was opened with ``read_only=True``.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     index.add(ids=["apple", "pear"], vectors=[np.eye(2)] * 2, metadata=[{"color": "red"}, {}])
        ...     index.delete(where={"color": "red"}), list(index)
        (1, ['pear'])
        """
        return self._writer.delete(ids, where)

    def update_metadata(self, ids: Sequence[str], metadata: Sequence[dict[str, Any]], *, replace: bool = False) -> None:
        """Change the metadata of documents in one transaction, without encoding anything again.

        Filters and hits of every later search have the new metadata. Documents read from a file keep them until the
        file's documents change.

        Args:
            ids: the documents; if one is not in the index, nothing is changed. The id of a document that was split,
                or the name of a file, means its passages.
            metadata: one dict per document. Its fields replace those of the same names, the others stay, and a field
                that is None is removed. Nested dicts are replaced whole.
            replace: drop all other fields; a field that is None is then stored as null. A passage keeps "document",
                "start" and "end", that of a file "source" too, and giving it others is a ValueError.

        Raises:
            UnknownIdError: an id is not in the index.
            DuplicateIdError: an id occurs twice in the call.
            ValueError, TypeError: names the argument, the position and the key.
            ReadOnlyError: the index was opened with ``read_only=True``.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     index.add(ids=["apple"], vectors=[np.eye(2)], metadata=[{"color": "green", "ripe": False}])
        ...     index.update_metadata(["apple"], [{"color": "red", "ripe": None, "price": 2}])
        ...     index["apple"].metadata
        {'color': 'red', 'price': 2}
        """
        check_flags(replace=replace)
        self._writer.update_metadata(ids, metadata, replace=replace)
