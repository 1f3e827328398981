"""The index: documents in, passages out, on disk, by one writer and any number of readers."""

from __future__ import annotations

import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import (
    DuplicateIdError,
    IndexDamagedError,
    MaintenanceWarning,
    ReadOnlyError,
    SerotineError,
    UnknownIdError,
)
from serotine.index import documents, encoding
from serotine.index.documents import Incoming
from serotine.index.files.codebook import MOST_CENTROIDS
from serotine.index.files.segment import VECTORS, SegmentRecord, write_vectors
from serotine.index.growth.maintenance import Housekeeper
from serotine.index.results import Hit, Hits, IndexStats, VerifyReport
from serotine.index.search.explanation import Explanation, explain
from serotine.index.search.options import Fusion, Mode, SearchOptions
from serotine.index.search.retriever import Retriever
from serotine.index.sources import Sources, SourceUpdate, record_sources
from serotine.index.stats import describe_index
from serotine.index.store import catalog as catalogs
from serotine.index.store import creation
from serotine.index.store.catalog import CATALOG_FILE, Catalog, Settings
from serotine.index.store.filters import check_filterable
from serotine.index.store.snapshot import Snapshot, load_snapshot
from serotine.index.store.writer_lock import WriterLock
from serotine.index.verify import verify_index
from serotine.progress import progress_bar
from serotine.text_encoder import AnyEncoder, TextEncoder
from serotine.texts import is_text, strings


class Index:
    """A collection of documents, each kept as its token vectors, searched by MaxSim.

    Make one with `Index.create` or `Index.open`; close it, or use it as a context manager. Searching is safe from any
    number of threads. Every change is one transaction: when the call returns it is on disk, and a crash at any instant
    leaves the state before it or after it.
    """

    def __init__(self, path: Path, catalog: Catalog, lock: WriterLock | None, encoder: TextEncoder | None) -> None:
        self._path = path
        self._catalog = catalog
        self._lock = lock
        self._encoder = encoder
        self._changing = threading.RLock()
        self._refreshing = threading.Lock()
        self._closed = False
        self._last_question: tuple[str, NDArray[np.float32]] | None = None
        self._version: tuple[int, int] | None = catalog.version()
        self._snapshot = load_snapshot(path, catalog, None)
        self._retriever = Retriever(catalog, self._current)
        self._housekeeper = Housekeeper(path, catalog, self._current, self._committing)

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
        """Creates an index and opens it for writing.

        Args:
            path: a folder that does not exist yet, or is empty and not the current one.
            encoder: turns texts and questions into token vectors; its name and fingerprint are recorded. A
                sentence-transformers `MultiVectorEncoder` will do too.
            dim: instead of an encoder: the dimension of the vectors that will be added.
            nbits: bits a dimension of the residual codes that a collection of some size is searched by: 2, 4 or 8.
            keep_vectors: keep the float16 vectors beside the codes, on disk: final scores are then exact, and
                ``exact=True`` can be proved. Without them an index takes about a fifth of the room.
            filterable: metadata fields with their types (str, int, float or bool) that filters shall find through an
                index; filters on other fields work too, by looking at every document.
            centroids: how many a codebook gets; 2^floor(log2(16 sqrt(tokens))), at most 65,536, unless given.

        Raises:
            IndexExistsError: something stands at `path`.
            ValueError, TypeError: neither or both of `encoder` and `dim`, or an argument that is not what it should be.
        """
        own = encoding.adapted(encoder)
        if (own is None) == (dim is None):
            raise ValueError("encoder, dim: exactly one of the two is needed")
        if own is not None:
            settings = encoding.describe(own)
        elif isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"dim: want an int of at least 1, got {type(dim).__name__}")
        else:
            settings = Settings(dim)
        if settings.dim < 1:
            raise ValueError(f"dim: want at least 1, got {settings.dim}")
        if nbits not in (2, 4, 8):
            raise ValueError(f"nbits: want 2, 4 or 8, got {nbits!r}")
        if centroids is not None and (type(centroids) is not int or not 1 <= centroids <= MOST_CENTROIDS):
            raise ValueError(f"centroids: want an int from 1 to {MOST_CENTROIDS:,}, got {centroids!r}")
        settings = replace(
            settings,
            nbits=int(nbits),
            keep_vectors=bool(keep_vectors),
            filterable=check_filterable(filterable or {}),
            centroids=centroids,
        )
        folder = Path(path).absolute()
        creation.create_folder(folder, settings)
        return cls.open(folder, encoder=own)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False, encoder: AnyEncoder | None = None) -> Index:
        """Opens an index.

        Args:
            path: its folder.
            read_only: any number may read while one writes; a reader sees new commits at its next search.
            encoder: the encoder it was built with. Unless given, `serotine.Encoder` loads it by its recorded name
                when a text first needs it.

        Raises:
            NotAnIndexError: no index there, or one of another format.
            IndexLockedError: another writer has it open.
            IndexDamagedError: a file is missing, truncated or damaged.
            EncoderError: `encoder` is not the one the index was built with.
        """
        # Absolute: the process may change its current folder while the index is open.
        folder = Path(path).absolute()
        catalog = Catalog(folder, read_only=read_only)
        lock: WriterLock | None = None
        try:
            own = encoding.adapted(encoder)
            if own is not None:
                encoding.check_encoder(catalog.settings, own, folder)
            if not read_only:
                lock = WriterLock(folder)
                creation.sweep(folder, catalog)
            return cls(folder, catalog, lock, own)
        except BaseException:
            if lock is not None:
                lock.release()
            catalog.close()
            raise

    def close(self) -> None:
        """Lets go of the files and, for a writer, of the lock. Closing twice is no error."""
        with self._changing:
            if self._closed:
                return
            self._closed = True
            self._snapshot = Snapshot({}, {})
            self._catalog.close()
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Index({str(self._path)!r}{', closed' if self._closed else ''})"

    def __len__(self) -> int:
        return self._current().documents

    def __contains__(self, id_: object) -> bool:
        self._require_open()
        return isinstance(id_, str) and is_text(id_) and bool(self._catalog.live_ids([id_]))

    @property
    def path(self) -> Path:
        """The index's folder."""
        return self._path

    @property
    def dim(self) -> int:
        """Dimension of a token vector."""
        return self._catalog.settings.dim

    @property
    def encoder(self) -> TextEncoder:
        """What turns its texts into vectors, loaded when it is first needed; EncoderError where it cannot be."""
        return self._require_encoder()

    def ids(self) -> list[str]:
        """The ids of all documents, in the order they were added."""
        self._require_open()
        return self._catalog.all_ids()

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
        """Adds documents: all of them, or, when anything is wrong, none.

        Args:
            ids: one non-empty string a document.
            texts: what to encode, and what hits will show.
            vectors: instead of encoding: float (tokens, dim) a document, kept as float16; no tokens is legal.
            metadata: one JSON-serialisable dict a document.
            upsert: replace documents whose ids are there already; otherwise such an id is an error.
            show_progress: draw a bar on standard error.

        Raises:
            DuplicateIdError: an id stands twice in the call, or is in the index already and `upsert` is False.
            ValueError, TypeError: what is wrong, naming the argument and its position.
            ReadOnlyError: the index was opened with ``read_only=True``.
        """
        with self._changing:
            self._store(ids, texts, vectors, metadata, upsert=upsert, show_progress=show_progress)
            self._tidy(show_progress=show_progress)

    def _store(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool,
        show_progress: bool = False,
        also: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """`add`, without the housekeeping after it; `also` joins its transaction."""
        with self._changing:
            self._require_writer()
            settings = self._catalog.settings
            batch = documents.check(
                ids,
                texts,
                vectors,
                metadata,
                dim=settings.dim,
                has_encoder=settings.encoder is not None,
                filterable=settings.filterable,
            )
            if not batch.ids and also is None:
                return
            replaced = self._catalog.live_ids(batch.ids)
            if replaced and not upsert:
                more = f" (and {len(replaced) - 1:,} more)" if len(replaced) > 1 else ""
                first = next(id_ for id_ in batch.ids if id_ in replaced)
                raise DuplicateIdError(f"ids: {first!r}{more} is in the index already; pass upsert=True to replace it")
            documents.warn_of_empty(batch)
            number = self._catalog.next_number()
            record: SegmentRecord | None = None
            if batch.ids:
                rows = self._vectors(batch, show_progress)
                record = write_vectors(creation.new_file(self._path, VECTORS), number, settings.dim, rows)
            # Should this fail, the file stays for the next opening to sweep: only the catalog, read again, can tell
            # whether a commit that raised happened.
            with self._committing() as connection:
                catalogs.bury(connection, list(replaced.values()))
                catalogs.insert_documents(
                    connection, number, list(zip(batch.ids, batch.texts, batch.metadata, strict=True))
                )
                if record is not None:
                    catalogs.insert_segment(connection, record)
                if also is not None:
                    also(connection)

    def add_batches(
        self,
        batches: Iterable[Mapping[str, Any]],
        *,
        upsert: bool = False,
        expected_documents: int | None = None,
        show_progress: bool = False,
    ) -> int:
        """Adds a stream of documents in bounded memory, one transaction a batch; returns how many were added.

        It can be stopped at any time, by Ctrl-C or worse: what was committed stays, and the same call with the same
        stream goes on from there, because documents that the index holds already are passed over.

        Args:
            batches: what `add` takes, as dicts: ``{"ids": [...], "texts": [...]}``, some thousand documents each.
            upsert: replace documents that are there instead of passing them over.
            expected_documents: how many the collection will come to, if known: the codebook is then trained once,
                for that size, when enough of the stream has been seen.
            show_progress: draw a bar on standard error, with the total where `expected_documents` tells it.

        Raises:
            what `add` raises, for the batch that is wrong; the batches before it stay.
        """
        added = 0
        with progress_bar(expected_documents, "Adding", enabled=show_progress) as advance:
            for batch in batches:
                fresh = dict(batch) if upsert else self._unknown(batch)
                with self._changing:
                    if fresh["ids"]:
                        self._store(**fresh, upsert=upsert)
                    if expected_documents is not None:
                        self._housekeeper.expect(expected_documents)
                    self._tidy()
                added += len(fresh["ids"])
                advance(len(batch["ids"]))
        if expected_documents is not None:
            with self._changing:
                self._housekeeper.expect_no_more()
                self._tidy()
        return added

    def update_sources(
        self, updates: Sequence[SourceUpdate], *, gone: Sequence[str] = (), expected_documents: int | None = None
    ) -> None:
        """Brings the documents of files to where the files are, in one transaction; `serotine.ingest` decides how.

        Args:
            updates: what becomes of each file's documents.
            gone: names of sources to forget, with all their documents.
            expected_documents: how many the index will hold when the run is over, as in `add_batches`; None: it is.

        Raises:
            what `add` raises.
        """
        with self._changing:
            if updates or gone:
                self._store(
                    [id_ for update in updates for id_ in update.ids],
                    [text for update in updates for text in update.texts],
                    metadata=[each for update in updates for each in update.metadata],
                    upsert=True,
                    also=lambda connection: record_sources(connection, updates, gone),
                )
            if expected_documents is None:
                self._housekeeper.expect_no_more()
            else:
                self._housekeeper.expect(expected_documents)
            self._tidy()

    @property
    def sources(self) -> Sources:
        """The files that documents came from, where they came from files."""
        self._require_open()
        return Sources(self._catalog)

    def _unknown(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The documents of a batch that the index does not hold."""
        if "ids" not in batch:
            raise ValueError(f"batches: want dicts with 'ids', got one with {', '.join(map(repr, batch)) or 'nothing'}")
        ids = documents.document_ids(batch["ids"])
        known = self._catalog.live_ids(ids)
        documents.check_counts(batch, len(ids))
        places = [i for i, id_ in enumerate(ids) if id_ not in known]
        return {name: None if values is None else [values[i] for i in places] for name, values in batch.items()}

    def _tidy(self, *, show_progress: bool = False) -> None:
        try:
            self._housekeeper.tidy(show_progress=show_progress)
        except OSError as error:
            # What was added is safe; only the rewriting of it has to wait.
            warnings.warn(
                f"{self._path}: documents are stored, but could not be compressed ({error.strerror or error}); "
                "the next change tries again",
                MaintenanceWarning,
                stacklevel=3,
            )

    def compact(self, *, show_progress: bool = False) -> None:
        """Rewrites the index without its deleted documents, in as few segments as can be.

        Where vectors are kept, a codebook that the collection has outgrown is trained anew and everything is encoded
        by it. Searches go on meanwhile; it can be stopped at any time.

        Raises:
            ReadOnlyError: the index was opened with ``read_only=True``.
        """
        with self._changing:
            self._require_writer()
            self._housekeeper.compact(show_progress=show_progress)

    def _vectors(self, batch: Incoming, show_progress: bool) -> Iterator[NDArray[np.float16]]:
        if batch.vectors is not None:
            return iter(batch.vectors)
        texts = [text or "" for text in batch.texts]
        return encoding.encode_texts(self._require_encoder(), texts, self.dim, show_progress=show_progress)

    @contextmanager
    def _committing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._catalog.transaction() as connection:
                yield connection
        finally:
            # Whatever came of it, the next search reads the catalog again. The lock: a search that is refreshing now
            # may have read the state before, and must not mark it as the newest afterwards.
            with self._refreshing:
                self._version = None

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes documents: all of them, or, when one is not there, none.

        Raises:
            UnknownIdError: an id the index does not hold.
        """
        with self._changing:
            self._require_writer()
            wanted = list(dict.fromkeys(strings(ids, "ids")))
            found = self._catalog.live_ids(wanted)
            missing = [id_ for id_ in wanted if id_ not in found]
            if missing:
                more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
                raise UnknownIdError(f"ids: {missing[0]!r}{more} is not in the index; nothing was deleted")
            if not wanted:
                return
            with self._committing() as connection:
                catalogs.bury(connection, list(found.values()))

    def get(self, ids: Sequence[str]) -> list[Hit]:
        """Documents by id, in the order asked; their score is NaN.

        Raises:
            UnknownIdError: an id the index does not hold.
        """
        self._require_open()
        return [Hit(id_, float("nan"), row.text, row.metadata) for id_, row in zip(ids, self._rows(ids), strict=True)]

    def vectors(self, id_: str) -> NDArray[np.float16]:
        """The stored token vectors of one document, float16 (tokens, dim), read-only.

        Where vectors are not kept, what the codes rebuild.
        """
        while True:
            (row,) = self._rows([id_])
            place = self._current().place(row.number)
            if place is not None:
                return place[0].document(place[1])
            # Replaced by another process between the two lines: it has another number now, or is gone.

    def search(
        self,
        query: str | NDArray[np.floating[Any]],
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
        fusion: Fusion = "rrf",
        weights: tuple[float, float] = (1.0, 1.0),
        candidates: int | None = None,
    ) -> Hits:
        """The k best documents for a query.

        Args:
            query: a question, or its token vectors, float (tokens, dim).
            k: how many; all that the filter lets through when there are fewer. (BM25 finds only documents that share
                a word with the question.)
            where: only documents whose metadata match: ``{"lang": "en", "year": {">=": 2020}}``; see
                `serotine.index.store.filters`.
            mode: "late" ranks by MaxSim; "bm25" by words; "hybrid" by both.
            exact: find the true best by MaxSim over the kept vectors, and prove it: see `Hits.certificate`.
            fusion: how "hybrid" joins its rankings: "rrf" by reciprocal rank (Cormack et al. 2009), "sum" by the
                weighted sum of scores brought to 0..1.
            weights: of the late and of the lexical ranking in "hybrid".
            candidates: how many documents are scored over their codes; more find more of the exact answer.

        Returns:
            The hits, best first; on a tie the document added first.

        Raises:
            ValueError, TypeError: an empty question, k below 1, vectors of another shape, a filter that says nothing.
            EncoderError: the index's encoder cannot be loaded, or is not the one it was built with.
        """
        return self.search_batch(
            [query], k, where=where, mode=mode, exact=exact, fusion=fusion, weights=weights, candidates=candidates
        )[0]

    def search_batch(
        self,
        queries: Sequence[str | NDArray[np.floating[Any]]],
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
        fusion: Fusion = "rrf",
        weights: tuple[float, float] = (1.0, 1.0),
        candidates: int | None = None,
    ) -> list[Hits]:
        """`search` for each of many queries: encoded together, and shared out among the threads."""
        self._require_open()
        if isinstance(queries, (str, bytes)):
            raise TypeError("queries: want a list of questions or arrays, got one string; put it in a list")
        options = SearchOptions(k, where, mode, exact, fusion, weights, candidates)
        listed = list(queries)
        started = time.perf_counter()
        questions = [query if isinstance(query, str) else None for query in listed]
        for question in questions:
            if question is not None:
                documents.check_question(question)
            elif mode != "late":
                raise TypeError(f'query: mode="{mode}" needs a question in words, got vectors')
        vectors = [] if mode == "bm25" else self._all_vectors(listed)
        encoding = (time.perf_counter() - started) * 1e3 / max(len(listed), 1)
        return self._retriever.answer(options, vectors, questions, encoding)

    def _all_vectors(self, queries: list[Any]) -> list[NDArray[np.float32]]:
        words = [query for query in queries if isinstance(query, str)]
        if len(words) == 1:
            encoded = iter([self._question_vectors(words[0])])
        else:
            encoded = iter(self._encode(words) if words else [])
        return [next(encoded) if isinstance(query, str) else self._checked_vectors(query) for query in queries]

    def explain(self, query: str, id_: str) -> Explanation:
        """Which token of a document each token of a question chose, with character offsets into both texts.

        Raises:
            UnknownIdError: the index does not hold `id_`.
            ValueError: the document was added as vectors, without a text.
        """
        documents.check_question(query)
        (row,) = self._rows([id_])
        if row.text is None:
            raise ValueError(f"id: {id_!r} was added as vectors, without a text to explain")
        encoder = self._require_encoder()
        query_vectors = self._question_vectors(query)
        vectors = self.vectors(id_)
        tokens = encoder.tokens(row.text, query=False) if len(vectors) else []
        return explain(
            id_, query, query_vectors, list(encoder.tokens(query, query=True)), row.text, vectors, list(tokens)
        )

    def stats(self) -> IndexStats:
        """Counts and sizes."""
        snapshot = self._current()
        live, deleted = self._catalog.counts()
        return describe_index(
            snapshot.records,
            self._catalog.codebooks(),
            self._catalog.settings,
            documents=live,
            deleted=deleted,
            catalog_bytes=(self._path / CATALOG_FILE).stat().st_size,
        )

    def verify(self) -> VerifyReport:
        """Reads everything and checks it: the database, every reference, every checksum.

        Raises:
            IndexDamagedError: what is damaged, all of it in one message.
        """
        while True:
            snapshot = self._current()
            try:
                return verify_index(self._path, self._catalog, snapshot)
            except IndexDamagedError:
                if self._current() is snapshot:
                    raise
            # The index has been changed meanwhile: what did not fit was of two states.

    def _current(self) -> Snapshot:
        """The newest committed state; reloads when another process has committed."""
        self._require_open()
        with self._refreshing:
            version = self._catalog.version()
            if version != self._version:
                self._snapshot = load_snapshot(self._path, self._catalog, self._snapshot)
                self._version = version
            return self._snapshot

    def _checked_vectors(self, query: object) -> NDArray[np.float32]:
        if not isinstance(query, np.ndarray):
            raise TypeError(f"query: want a string or an array (tokens, {self.dim}), got {type(query).__name__}")
        return documents.query_vectors(query, self.dim)

    def _question_vectors(self, question: str) -> NDArray[np.float32]:
        # A search is followed by `explain` of each of its hits: encoding the question again would take longer than
        # all the rest. One pair, replaced as a whole, needs no lock.
        remembered = self._last_question
        if remembered is None or remembered[0] != question:
            remembered = (question, self._encode([question])[0])
            self._last_question = remembered
        return remembered[1]

    def _encode(self, questions: list[str]) -> list[NDArray[np.float32]]:
        return encoding.encode_questions(self._require_encoder(), questions, self.dim)

    def _rows(self, ids: Sequence[str]) -> list[catalogs.Row]:
        wanted = strings(ids, "ids")
        found = self._catalog.live_ids(wanted)
        for id_ in wanted:
            if id_ not in found:
                raise UnknownIdError(f"ids: {id_!r} is not in the index")
        rows = self._catalog.rows(list(found.values()))
        return [rows[found[id_]] for id_ in wanted]

    def _require_encoder(self) -> TextEncoder:
        if self._encoder is None:
            self._encoder = encoding.load_encoder(self._catalog.settings, self._path)
        return self._encoder

    def _require_open(self) -> None:
        if self._closed:
            raise SerotineError(f"{self._path}: this index is closed; open it again")

    def _require_writer(self) -> None:
        self._require_open()
        if self._lock is None:
            raise ReadOnlyError(f"{self._path}: opened with read_only=True; open it for writing to change it")
