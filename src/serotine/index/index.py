"""The index: documents in, hits out, on disk, with one writer and any number of readers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexDamagedError, UnknownIdError, invalid, not_one_of, wrong_type
from serotine.index import recorded_encoder
from serotine.index.documents import validate_query
from serotine.index.files import MAX_CENTROIDS
from serotine.index.hits import Hit, Hits
from serotine.index.queries import Query, QueryEncoder, query_texts
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.results import IndexStats, VerifyReport
from serotine.index.search import Explanation, Fusion, Mode, Retriever, SearchKeywords, SearchOptions, explain
from serotine.index.stats import index_stats
from serotine.index.store import Row, Settings, Sources, SourceUpdate, Store, check_filterable
from serotine.index.verify import verify_index
from serotine.index.writer import Writer
from serotine.text_encoder import AnyEncoder, TextEncoder
from serotine.texts import is_text, strings


class Index:
    """A collection of documents on disk, stored as token vectors and searched by MaxSim.

    Open one with `Index.create` or `Index.open`; close it, or use it as a context manager. Searches are thread-safe.
    Every change is one transaction: when the call returns it is on disk, and a crash at any time leaves the state
    before it or after it.

    >>> import tempfile
    >>> import numpy as np
    >>> from serotine import Index
    >>> with tempfile.TemporaryDirectory() as folder, Index.create(f"{folder}/fruit", dim=2) as index:
    ...     index.add(ids=["apple", "pear"], vectors=[np.eye(2), np.full((1, 2), 0.5)])
    ...     index.delete(["pear"])
    ...     index.ids(), len(index)
    (['apple'], 1)
    """

    def __init__(self, store: Store, encoder: TextEncoder | None) -> None:
        self._store = store
        self._encoder = RecordedEncoder(store.settings, store.folder, encoder)
        self._writer = Writer(store, self._encoder)
        self._queries = QueryEncoder(self._encoder, store.settings.dim)
        self._retriever = Retriever(store)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        encoder: AnyEncoder | None = None,
        dim: int | None = None,
        nbits: int = 4,
        keep_vectors: bool = True,
        filterable: dict[str, type] | None = None,
        centroids: int | None = None,
    ) -> Index:
        """Create an index and open it for writing.

        Args:
            path: a folder that does not exist yet, or is empty and not the current one.
            encoder: encodes documents and queries; its name and fingerprint are recorded. A sentence-transformers
                `MultiVectorEncoder` works too.
            dim: instead of an encoder: the dimension of the vectors that will be added.
            nbits: bits per dimension of the residual codes that larger collections are searched with: 2, 4 or 8.
            keep_vectors: store the float16 vectors beside the codes: final scores are then exact, and ``exact=True``
                can be proved. Without them an index takes about a fifth of the space.
            filterable: metadata fields with their types (str, int, float or bool) that filters look up in an SQL
                index; filters on other fields work too, by reading every document.
            centroids: number of centroids of a codebook; by default 2^floor(log2(16 sqrt(tokens))), at most 65,536.

        Raises:
            IndexExistsError: `path` exists and is not an empty folder that can be replaced.
            ValueError, TypeError: neither or both of `encoder` and `dim`, or an invalid argument.
        """
        text_encoder = recorded_encoder.adapt(encoder)
        if (text_encoder is None) == (dim is None):
            raise ValueError("encoder, dim: exactly one of the two is needed")
        if text_encoder is not None:
            settings = recorded_encoder.describe(text_encoder)
        elif isinstance(dim, bool) or not isinstance(dim, int):
            raise wrong_type("dim", "an int of at least 1", dim)
        else:
            settings = Settings(dim)
        if settings.dim < 1:
            raise invalid("dim", "at least 1", settings.dim)
        if nbits not in (2, 4, 8):
            raise not_one_of("nbits", (2, 4, 8), nbits)
        if centroids is not None and (type(centroids) is not int or not 1 <= centroids <= MAX_CENTROIDS):
            raise invalid("centroids", f"an int from 1 to {MAX_CENTROIDS:,}", centroids)
        settings = replace(
            settings,
            nbits=int(nbits),
            keep_vectors=bool(keep_vectors),
            filterable=check_filterable(filterable or {}),
            centroids=centroids,
        )
        Store.create(path, settings)
        return cls.open(path, encoder=text_encoder)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False, encoder: AnyEncoder | None = None) -> Index:
        """Open an index.

        Args:
            path: the index's folder.
            read_only: open for reading; any number may read while one writes, and each sees new commits at its next
                search.
            encoder: the encoder it was built with; by default `serotine.Encoder` loads it by its recorded name when a
                text first needs it.

        Raises:
            NotAnIndexError: `path` is not an index, or one of another format.
            IndexLockedError: another writer has it open.
            IndexDamagedError: a file is missing, truncated or damaged.
            EncoderError: `encoder` is not the one the index was built with.
        """
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
        return f"Index({str(self.path)!r}{', closed' if self._store.closed else ''})"

    def __len__(self) -> int:
        return self._store.snapshot().documents

    def __contains__(self, id_: object) -> bool:
        self._store.require_open()
        return isinstance(id_, str) and is_text(id_) and bool(self._store.catalog.live_ids([id_]))

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

    def ids(self) -> list[str]:
        """Return the ids of all documents, in the order they were added."""
        self._store.require_open()
        return self._store.catalog.all_ids()

    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool = False,
        show_progress: bool = False,
    ) -> None:
        """Add documents: all of them, or, if anything is wrong, none.

        Args:
            ids: one non-empty string per document.
            texts: texts to encode, which hits return.
            vectors: instead of encoding: float (tokens, dim) per document, stored as float16; may have no tokens.
            metadata: one dict per document that JSON can represent.
            upsert: replace documents whose ids are in the index; otherwise such an id is an error.
            show_progress: show a progress bar on standard error.

        Raises:
            DuplicateIdError: an id occurs twice in the call, or is in the index and `upsert` is False.
            ValueError, TypeError: names the argument and the position.
            ReadOnlyError: the index was opened with ``read_only=True``.
        """
        self._writer.add(ids, texts, vectors, metadata, upsert=upsert, show_progress=show_progress)

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        *,
        upsert: bool = False,
        expected_documents: int | None = None,
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
            show_progress: show a progress bar on standard error, of `expected_documents` in total.

        Raises:
            Every error of `add`, for the batch that is wrong; the batches before it stay.
        """
        return self._writer.add_batches(
            batches, upsert=upsert, expected_documents=expected_documents, show_progress=show_progress
        )

    def update_sources(
        self, updates: Sequence[SourceUpdate], *, removed: Sequence[str] = (), expected_documents: int | None = None
    ) -> None:
        """Bring the documents of files up to date in one transaction; `serotine.ingest` plans the updates.

        Args:
            updates: the changes to every file's documents.
            removed: names of sources to remove, with all their documents.
            expected_documents: size of the index at the end of the run, as in `add_batches`; None ends the run.

        Raises:
            Every error of `add`.
        """
        self._writer.update_sources(updates, removed, expected_documents)

    def compact(self, *, show_progress: bool = False) -> None:
        """Rewrite the index without deleted documents, in as few segments as possible.

        Where vectors are stored, a codebook that the collection has outgrown is retrained and everything is encoded
        with the new one. Searches continue meanwhile; it can be interrupted at any time.

        Raises:
            ReadOnlyError: the index was opened with ``read_only=True``.
        """
        self._writer.compact(show_progress=show_progress)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents: all of them, or, if one is missing, none.

        Raises:
            UnknownIdError: an id is not in the index.
            ReadOnlyError: the index was opened with ``read_only=True``.
        """
        self._writer.delete(ids)

    def get(self, ids: Sequence[str]) -> list[Hit]:
        """Return documents by id, in the order of `ids`, as hits with score NaN.

        Raises:
            UnknownIdError: an id is not in the index.
        """
        self._store.require_open()
        return [Hit(id_, float("nan"), row.text, row.metadata) for id_, row in zip(ids, self._rows(ids), strict=True)]

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """Return the token vectors of a document, float16 (tokens, dim), read-only.

        Where vectors are not stored, they are rebuilt from the codes.

        Raises:
            UnknownIdError: `id_` is not in the index.
        """
        while True:
            (row,) = self._rows([id_])
            location = self._store.snapshot().locate(row.number)
            if location is not None:
                segment, position = location
                return segment.document(position)
            # Replaced by another process in between: it has another number now, or is deleted.

    def search(
        self,
        query: Query,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
        fusion: Fusion = "rrf",
        weights: tuple[float, float] = (1.0, 1.0),
        candidates: int | None = None,
        offset: int = 0,
    ) -> Hits:
        """Return the k best documents for a query.

        Args:
            query: a text, or its token vectors, float (tokens, dim).
            k: number of hits; fewer if fewer documents pass the filter, or in mode "bm25" share a word with the query.
            where: filter on metadata: ``{"lang": "en", "year": {">=": 2020}}``; docs/index.md lists the operators.
            mode: "late" ranks by MaxSim, "bm25" by words, "hybrid" by both.
            exact: return the true best by MaxSim over the stored vectors, with a proof: see `Hits.certificate`.
            fusion: how "hybrid" joins its rankings: "rrf" by reciprocal rank (Cormack et al. 2009), "sum" by the
                weighted sum of scores normalized to 0..1.
            weights: of the late and of the lexical ranking in "hybrid".
            candidates: number of documents scored over their codes; more find more of the exact answer.
            offset: number of the best hits to skip, for paging: the k after them are returned.

        Returns:
            The hits, best first; on a tie the document added first.

        Raises:
            ValueError, TypeError: names the argument.
            EncoderError: the index's encoder cannot be loaded, or is not the one it was built with.

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
        options = SearchOptions(k, where, mode, exact, fusion, weights, candidates, offset)
        return self._search([query], options)[0]

    def search_batch(self, queries: Sequence[Query], k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hits]:
        """Return the hits of many queries, encoded together and searched in parallel; options as for `search`."""
        if isinstance(queries, (str, bytes)):
            raise TypeError("queries: must be a list of strings or arrays, got one string; put it in a list")
        return self._search(list(queries), SearchOptions(k, **options))

    def _search(self, queries: Sequence[Query], options: SearchOptions) -> list[Hits]:
        self._store.require_open()
        started = time.perf_counter()
        texts = query_texts(queries, options.mode)
        vectors = [] if options.mode == "bm25" else self._queries.vectors(queries)
        encoding = (time.perf_counter() - started) * 1e3 / max(len(queries), 1)
        results = self._retriever.search(options, vectors, texts, encoding)
        return [hits.explained_by(text, self) for hits, text in zip(results, texts, strict=True)]

    def explain(self, query: str, id_: str) -> Explanation:
        """Return the document token that each query token matches best, with character offsets into both texts.

        Raises:
            UnknownIdError: `id_` is not in the index.
            ValueError: the query is empty, or the document was added as vectors, without a text.
        """
        validate_query(query)
        (row,) = self._rows([id_])
        if row.text is None:
            raise ValueError(f"id: {id_!r} was added as vectors, without a text to explain")
        encoder = self._encoder.get()
        query_vectors = self._queries.text_vectors(query)
        vectors = self.vectors(id_)
        tokens = encoder.tokens(row.text, query=False) if len(vectors) else []
        query_tokens = encoder.tokens(query, query=True)
        return explain(id_, query, query_vectors, list(query_tokens), row.text, vectors, list(tokens))

    def stats(self) -> IndexStats:
        """Return counts and sizes."""
        return index_stats(self._store)

    def verify(self) -> VerifyReport:
        """Read everything and check it: the database, every reference, every checksum.

        Raises:
            IndexDamagedError: lists everything that is damaged.
        """
        while True:
            snapshot = self._store.snapshot()
            try:
                return verify_index(self._store, snapshot)
            except IndexDamagedError:
                if self._store.snapshot() is snapshot:
                    raise
            # The index has changed meanwhile: the mismatch may be between two states.

    def _rows(self, ids: Sequence[str]) -> list[Row]:
        requested = strings(ids, "ids")
        numbers = self._store.catalog.live_ids(requested)
        for id_ in requested:
            if id_ not in numbers:
                raise UnknownIdError(f"ids: {id_!r} is not in the index")
        rows = self._store.catalog.rows(list(numbers.values()))
        return [rows[numbers[id_]] for id_ in requested]
