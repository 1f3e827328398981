"""The index: documents in, hits out, on disk, with one writer and any number of readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import CoverageReport
from serotine.errors import IndexExistsError, SerotineError, check_flags, is_list, no_list
from serotine.index import recorded_encoder
from serotine.index.creation import CreateKeywords, CreateOptions
from serotine.index.document_explainer import DocumentExplainer
from serotine.index.documents import check_query_list, check_tuning_queries
from serotine.index.hits import Hits
from serotine.index.interrupted import interrupted_update
from serotine.index.long_texts import LongTexts
from serotine.index.queries import Query, QueryEncoder, query_texts
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.search import Explanation, Fusion, GroupBy, Mode, SearchKeywords, SearchOptions, StoredDocuments
from serotine.index.searcher import OpenSearch, Searcher
from serotine.index.store import Sources, SourceUpdate, Store, read_settings
from serotine.index.tuning import TuneReport
from serotine.index.upkeep import Upkeep
from serotine.index.writer import Writer
from serotine.text_encoder import AnyEncoder, TextEncoder


class Index(Upkeep):
    """A collection of documents on disk, stored as token vectors and searched by MaxSim.

    Open one with `Index.create` or `Index.open`; close it, or use it as a context manager. Searches are thread-safe.
    Every change is one transaction: when the call returns it is on disk, and a crash at any time leaves the state
    before it or after it. Where the folder was removed, or replaced by another index, every call raises
    `serotine.errors.IndexReplacedError`: open it again.

    >>> import tempfile
    >>> import numpy as np
    >>> from serotine import Index
    >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
    ...     index.add(ids=["apple", "pear"], vectors=[np.eye(2), np.full((1, 2), 0.5)])
    ...     index.delete(["pear"]), list(index), len(index)
    (1, ['apple'], 1)
    """

    def __init__(self, store: Store, encoder: TextEncoder | None) -> None:
        super().__init__(store)
        self._encoder = RecordedEncoder(store.settings, store.folder, encoder)
        self._writer = Writer(store, self._encoder)
        self._queries = QueryEncoder(self._encoder, store.settings.dim)
        self._searcher = Searcher(store.settings, self._queries, self._filter_checks)
        self._explainer = DocumentExplainer(store, self._encoder, self._queries)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        encoder: AnyEncoder | None = None,
        dim: int | None = None,
        nbits: int | None = None,
        keep_vectors: bool | None = None,
        filterable: dict[str, type] | None = None,
        centroids: int | None = None,
        exist_ok: bool = False,
    ) -> Index:
        """Create an index and open it for writing.

        Args:
            path: a folder that does not exist yet, or is empty and not the current one.
            encoder: encodes documents and queries; its name and fingerprint are recorded. A name such as "mini", a
                folder and a hub id work too, as for `serotine.Encoder`, and so does a sentence-transformers
                `MultiVectorEncoder`. The default encoder, `serotine.Encoder()`, unless this or `dim` is given.
            dim: instead of an encoder: the dimension of the vectors that will be added.
            nbits: bits per dimension of the residual codes that larger collections are searched with: 2, 4 or 8; 4
                unless given.
            keep_vectors: store the float16 vectors beside the codes, as it does unless given: final scores are then
                exact, and ``exact=True`` can be proved. Without them an index takes about a fifth of the space.
            filterable: metadata fields with their types (str, int, float or bool) that filters look up in an SQL
                index; filters on other fields work too, by reading every document.
            centroids: number of centroids of a codebook; by default 2^floor(log2(16 sqrt(tokens))), at most 65,536.
            exist_ok: open the index at `path` if there is one, provided that it was created with the arguments given
                here; arguments left out are not compared. `open_or_create` is the same.

        Raises:
            IndexExistsError: `path` exists and is not an empty folder that can be replaced; or, with ``exist_ok=True``,
                is not an index, or one created with other arguments.
            IndexLockedError: with ``exist_ok=True``, another writer has the index open.
            EncoderError: the encoder cannot be loaded, or the existing index was built with another one.
            ValueError, TypeError: both `encoder` and `dim`, or an invalid argument.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/bats", encoder="mini") as index:
        ...     index.add(ids=["noctule"], texts=["The noctule is a large bat."])
        ...     index["noctule"].text
        'The noctule is a large bat.'
        """
        check_flags(exist_ok=exist_ok)
        options = CreateOptions.of(encoder, dim, nbits, keep_vectors, filterable, centroids)
        if exist_ok and Store.exists(path):
            options.check_existing(Path(path), read_settings(path))
            return cls.open(path, encoder=options.encoder)
        options = options.with_encoder()
        try:
            Store.create(path, options.settings())
        except IndexExistsError:
            # Another process may have created it since.
            if not (exist_ok and Store.exists(path)):
                raise
            options.check_existing(Path(path), read_settings(path))
        return cls.open(path, encoder=options.encoder)

    @classmethod
    def open_or_create(cls, path: str | Path, **options: Unpack[CreateKeywords]) -> Index:
        """Open the index at `path` for writing, or create it; options and errors as for `create`.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for day in ("monday", "tuesday"):
        ...         with Index.open_or_create(f"{folder}/days", dim=2) as index:
        ...             index.add(ids=[day], vectors=[np.eye(2)])
        ...             list(index)
        ['monday']
        ['monday', 'tuesday']
        """
        return cls.create(path, exist_ok=True, **options)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False, encoder: AnyEncoder | None = None) -> Index:
        """Open an index.

        Args:
            path: the index's folder.
            read_only: open for reading; any number may read while one writes, and each sees new commits at its next
                search.
            encoder: the encoder it was built with, or its name; by default `serotine.Encoder` loads it by its recorded
                name when a text first needs it.

        Raises:
            NotAnIndexError: `path` is not an index, or one of another format.
            IndexLockedError: another writer has it open.
            IndexDamagedError: a file is missing, truncated or damaged.
            EncoderError: `encoder` is not the one the index was built with.
        """
        check_flags(read_only=read_only)
        text_encoder = recorded_encoder.adapt(encoder)
        store = Store.open(path, read_only=read_only)
        try:
            return cls(store, text_encoder)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the files and, for a writer, release the lock. Closing twice is harmless."""
        self._store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state, counts = "closed", ""
        if not self._store.closed:
            state = "open" if self._store.writable else "open, read-only"
            # Of an index that can no longer be read, the rest is still shown.
            with suppress(SerotineError, OSError):
                documents = len(self)
                counts = f"{documents:,} document{'' if documents == 1 else 's'}, "
        return f"Index({str(self.path)!r}, {counts}{state})"

    @property
    def path(self) -> Path:
        """The index's folder."""
        return self._store.folder

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        return self._store.settings.dim

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of its texts, loaded when first needed; raises EncoderError where it cannot be."""
        return self._encoder.get()

    @property
    def sources(self) -> Sources:
        """The files that documents were read from."""
        return self._store.sources

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool = False,
        long_texts: LongTexts = "warn",
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
        self._writer.add(ids, texts, vectors, metadata, upsert, long_texts, show_progress=show_progress)

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
                size, when enough of the stream has arrived.
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
    ) -> CoverageReport:
        """Bring the documents of files up to date in one transaction; `serotine.ingest` plans the updates.

        Args:
            updates: the changes to every file's documents.
            removed: names of sources to remove, with all their documents.
            expected_documents: size of the index at the end of the run, as in `add_batches`; None ends the run, and
                discards what is still staged.
            staged: documents of a file to store ahead of its update; no search returns them until that update names
                their ids in `SourceUpdate.staged`.
            show_progress: show the progress of maintenance on standard error.

        Returns counts of the texts that the encoder does not read whole or does not know; nothing warns.

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

    def search(
        self,
        query: Query,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
        fusion: Fusion = "rrf",
        weights: tuple[float, float] | None = None,
        candidates: int | None = None,
        offset: int = 0,
        min_score: float | None = None,
        group_by: GroupBy | None = None,
        recall: float | None = None,
        k_token: int | None = None,
    ) -> Hits:
        """Return the k best documents for a query.

        Args:
            query: a text, or its token vectors, float (tokens, dim).
            k: number of hits; fewer if fewer documents pass the filter, or in mode "bm25" share a word.
            where: filter on metadata: ``{"lang": "en", "year": {">=": 2020}}``; docs/indexes.md lists the operators.
            mode: "late" ranks by MaxSim, "bm25" by words, "hybrid" by both, "xtr" by retrieved tokens (see `k_token`);
                "late" becomes "hybrid", as `Hits.warnings` then says, where more than 20% of the query, or of most of
                the documents that it finds, is outside the encoder's vocabulary.
            exact: return the true best by MaxSim over the stored vectors, with a proof: see `Hits.certificate`.
            fusion: how "hybrid" joins its rankings: "rrf" by reciprocal rank (Cormack et al. 2009), "sum" by the
                weighted sum of scores normalized to 0..1.
            weights: of the late and of the lexical ranking in "hybrid"; unless given, equal, or what the encoder knows
                of the query or of what it finds for the late one.
            candidates: for experts, instead of `recall`: number of documents scored over their codes.
            offset: number of the best hits to skip, for paging: the k after them are returned.
            min_score: lowest `Hit.score_per_token` of a hit; `Hits.stats` counts those below. See docs/indexes.md.
            group_by: "document" returns one hit per document, its best passage.
            recall: the share of the exact k best that the search is to find, above 0 and at most 1; 0.99 unless
                given. The least effort that keeps it is chosen from what `tune` measured; see docs/indexes.md.
            k_token: in mode "xtr" (Lee et al. 2023), tokens that every query token retrieves, at least as many as hits;
                1,000 unless given. Only these make scores and hits; no recall is promised. docs/indexes.md has more.

        Returns:
            The hits, best first; on a tie the document added first.

        Raises:
            ValueError, TypeError: names the argument.
            EncoderError: the index's encoder cannot be loaded, or is not the one it was built with.

        Warns:
            TruncatedTextWarning, UnknownTextWarning, UnknownFieldWarning: for each of `Hits.warnings`.

        >>> import tempfile
        >>> import numpy as np
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     index.add(
        ...         ids=["apple", "pear"],
        ...         vectors=[np.eye(2), np.full((1, 2), 0.5)],
        ...         metadata=[{"color": "red"}, {"color": "green"}],
        ...     )
        ...     hits = index.search(np.eye(2), k=2)
        ...     green = index.search(np.eye(2), where={"color": "green"}, exact=True)
        >>> [(hit.id, hit.score) for hit in hits]
        [('apple', 2.0), ('pear', 1.0)]
        >>> [hit.id for hit in green], green.certificate.exact
        (['pear'], True)
        """
        options = SearchOptions(
            k, where, mode, exact, fusion, weights, candidates, offset, min_score, group_by, recall, k_token
        )
        return self._search([query], options)[0]

    def search_batch(self, queries: Sequence[Query], k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hits]:
        """Return the hits of many queries, encoded together and searched in parallel; options as for `search`."""
        check_query_list(queries)
        return self._search(list(queries), SearchOptions(k, **options))

    def _search(self, queries: Sequence[Query], options: SearchOptions) -> list[Hits]:
        with self._open_search() as search:
            return search.hits(queries, options)

    @contextmanager
    def _open_search(self) -> Iterator[OpenSearch]:
        """Yield the index as one search reads it; see `search_several`."""
        self._store.require_open()
        interrupted = self._store.interrupted
        warnings = (interrupted_update(self._store.folder, interrupted),) if interrupted else ()
        yield OpenSearch(self._searcher, StoredDocuments(self._store), self, warnings)

    def tune(self, queries: Sequence[Query] | None = None, *, show_progress: bool = False) -> TuneReport:
        """Measure which effort keeps which recall on this index, so that `search` does no more than its `recall` needs.

        The answers of searches of rising effort are compared with those of exact searches. Housekeeping does so by
        itself when a codebook is trained or the index has doubled, where a twentieth of the time of building suffices.

        Args:
            queries: texts, or arrays of token vectors, like those that will be searched for; some hundred of them.
                Without them, queries are made from the index's own documents, which are then left out of the answers.
            show_progress: show a progress bar on standard error.

        Raises:
            ValueError, TypeError: names the query.
            ReadOnlyError: the index was opened with ``read_only=True``.

        >>> import tempfile
        >>> from serotine import Index
        >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
        ...     index.add(ids=["apple"], vectors=[np.eye(2)])
        ...     index.tune().statement
        'No calibration is needed: all of the 1 documents are scored exactly.'
        """
        check_flags(show_progress=show_progress)
        vectors = None
        if queries is not None:
            check_tuning_queries(queries)
            query_texts(queries, "late")
            vectors = self._queries.vectors(queries)
        return self._writer.tune(vectors, show_progress=show_progress)

    def explain(self, query: str, id_: str) -> Explanation:
        """Return the document token that each query token matches best, with character offsets into both texts.

        Of a document that was split, its passage with the highest score is explained: `Explanation.id` is its id.

        Raises:
            UnknownIdError: `id_` is not in the index.
            ValueError: the query is empty, or the document was added as vectors, without a text.
        """
        return self._explainer.explain(query, id_)
