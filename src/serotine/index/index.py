"""The index: documents in, passages out, on disk, by one writer and any number of readers."""

from __future__ import annotations

import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import (
    DuplicateIdError,
    EmptyTextWarning,
    IndexDamagedError,
    ReadOnlyError,
    SerotineError,
    UnknownIdError,
)
from serotine.index import catalog as catalogs
from serotine.index import creation, encoding, incoming
from serotine.index.catalog import CATALOG_FILE, Catalog, Settings
from serotine.index.explanation import Explanation, explain
from serotine.index.hits import Certificate, Hit, Hits, SearchStats
from serotine.index.incoming import Incoming
from serotine.index.lock import WriterLock
from serotine.index.reports import IndexStats, VerifyReport
from serotine.index.segment import SegmentWriter
from serotine.index.snapshot import Part, Snapshot, load_snapshot
from serotine.index.text_encoder import TextEncoder
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

    @classmethod
    def create(cls, path: str | Path, *, encoder: TextEncoder | None = None, dim: int | None = None) -> Index:
        """Creates an index and opens it for writing.

        Args:
            path: a folder that does not exist yet, or is empty and not the current one.
            encoder: turns texts and questions into token vectors; its name and fingerprint are recorded.
            dim: instead of an encoder: the dimension of the vectors that will be added.

        Raises:
            IndexExistsError: something stands at `path`.
            ValueError, TypeError: neither or both of `encoder` and `dim`, or one that is not what it should be.
        """
        if (encoder is None) == (dim is None):
            raise ValueError("encoder, dim: exactly one of the two is needed")
        if encoder is not None:
            settings = encoding.describe(encoder)
        elif isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"dim: want an int of at least 1, got {type(dim).__name__}")
        else:
            settings = Settings(dim, None, None)
        if settings.dim < 1:
            raise ValueError(f"dim: want at least 1, got {settings.dim}")
        folder = Path(path).absolute()
        creation.create_folder(folder, settings)
        return cls.open(folder, encoder=encoder)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False, encoder: TextEncoder | None = None) -> Index:
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
            if encoder is not None:
                encoding.check_encoder(catalog.settings, encoder, folder)
            if not read_only:
                lock = WriterLock(folder)
                creation.sweep(folder, catalog)
            return cls(folder, catalog, lock, encoder)
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
            self._snapshot = Snapshot({})
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
            self._require_writer()
            settings = self._catalog.settings
            batch = incoming.check(
                ids, texts, vectors, metadata, dim=settings.dim, has_encoder=settings.encoder is not None
            )
            if not batch.ids:
                return
            replaced = self._catalog.live_ids(batch.ids)
            if replaced and not upsert:
                more = f" (and {len(replaced) - 1:,} more)" if len(replaced) > 1 else ""
                first = next(id_ for id_ in batch.ids if id_ in replaced)
                raise DuplicateIdError(f"ids: {first!r}{more} is in the index already; pass upsert=True to replace it")
            _warn_of_empty(batch)
            path = creation.new_segment(self._path)
            with SegmentWriter(path, settings.dim) as writer:
                for document in self._vectors(batch, show_progress):
                    writer.add(document)
            record = writer.record
            if record is None:
                raise SerotineError(f"{path}: the segment was not written")
            # Should this fail, the file stays for the next opening to sweep: only the catalog, read again, can tell
            # whether a commit that raised happened.
            with self._committing() as connection:
                catalogs.bury(connection, list(replaced.values()))
                catalogs.insert_segment(
                    connection, record, list(zip(batch.ids, batch.texts, batch.metadata, strict=True))
                )

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
        """The stored token vectors of one document, float16 (tokens, dim), read-only."""
        part, position = self._place(id_)
        return part.segment.document(position)

    def search(self, query: str | NDArray[np.floating[Any]], k: int = 10, *, exact: bool = False) -> Hits:
        """The k best documents for a query.

        Args:
            query: a question, or its token vectors, float (tokens, dim).
            k: how many; all documents when there are fewer.
            exact: also prove it: `Hits.certificate` says that no other document can score higher. (Today's plan, a
                flat scan, is always exact over the stored float16 vectors.)

        Returns:
            The hits, best first; on a tie the document added first.

        Raises:
            ValueError: an empty question, k below 1, or vectors of another shape.
            TypeError: `query` is neither a string nor an array.
            EncoderError: the index's encoder cannot be loaded, or is not the one it was built with.
        """
        started = time.perf_counter()
        vectors = self._query_vectors(query)
        return self._search(vectors, _check_k(k), exact, {"encode": (time.perf_counter() - started) * 1e3})

    def search_batch(
        self, queries: Sequence[str | NDArray[np.floating[Any]]], k: int = 10, *, exact: bool = False
    ) -> list[Hits]:
        """`search` for each of many queries; questions are encoded together."""
        if isinstance(queries, (str, bytes)):
            raise TypeError("queries: want a list of questions or arrays, got one string; put it in a list")
        k = _check_k(k)
        started = time.perf_counter()
        listed = list(queries)
        questions = [query for query in listed if isinstance(query, str)]
        for question in questions:
            _check_question(question)
        encoded = iter(self._encode(questions) if questions else [])
        vectors = [next(encoded) if isinstance(query, str) else self._query_vectors(query) for query in listed]
        share = (time.perf_counter() - started) * 1e3 / max(len(listed), 1)
        return [self._search(query, k, exact, {"encode": share}) for query in vectors]

    def _search(self, query: NDArray[np.float32], k: int, exact: bool, times: dict[str, float]) -> Hits:
        snapshot = self._current()
        started = time.perf_counter()
        # One more than asked tells what the best document outside the hits scores.
        ranking = snapshot.rank(query, k + 1 if exact else k)
        times["score"] = (time.perf_counter() - started) * 1e3
        started = time.perf_counter()
        numbers = ranking.numbers[:k].tolist()
        rows = self._catalog.rows(numbers)
        hits = tuple(
            Hit(rows[number].id, score, rows[number].text, rows[number].metadata)
            for number, score in zip(numbers, ranking.scores[:k].tolist(), strict=True)
        )
        times["fetch"] = (time.perf_counter() - started) * 1e3
        stats = SearchStats("flat", ranking.documents, ranking.tokens, times)
        if not exact:
            return Hits(hits, stats)
        bound = float(ranking.scores[k]) if ranking.scores.size > k else float("-inf")
        certificate = Certificate(
            exact=True,
            kth_score=hits[-1].score if hits else float("-inf"),
            bound=bound,
            rescored=ranking.documents,
            statement=f"Exact: all {ranking.documents:,} documents were scored over their stored float16 vectors.",
        )
        return Hits(hits, stats, certificate)

    def explain(self, query: str, id_: str) -> Explanation:
        """Which token of a document each token of a question chose, with character offsets into both texts.

        Raises:
            UnknownIdError: the index does not hold `id_`.
            ValueError: the document was added as vectors, without a text.
        """
        _check_question(query)
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
        records = [part.segment.record for part in snapshot.parts.values()]
        tokens = sum(record.tokens for record in records)
        size = sum(record.bytes for record in records)
        return IndexStats(
            documents=live,
            deleted=deleted,
            tokens=tokens,
            dim=self.dim,
            segments=len(records),
            bytes=size,
            catalog_bytes=(self._path / CATALOG_FILE).stat().st_size,
            bytes_per_token=size / tokens if tokens else 0.0,
            encoder=self._catalog.settings.encoder,
            format_version=catalogs.FORMAT_VERSION,
        )

    def verify(self) -> VerifyReport:
        """Reads everything and checks it: the database, every reference, every checksum.

        Raises:
            IndexDamagedError: what is damaged, all of it in one message.
        """
        snapshot = self._current()
        problems = [f"{CATALOG_FILE}: {problem}" for problem in self._catalog.check()]
        for part in snapshot.parts.values():
            record = part.segment.record
            try:
                found = part.segment.checksum()
            except OSError as error:
                problems.append(f"{record.file} cannot be read ({error.strerror or error})")
            else:
                if found != record.checksum:
                    problems.append(f"the checksum of {record.file} does not match the catalog's")
        if problems:
            raise IndexDamagedError(
                f"{self._path}: {'; '.join(problems)}; restore the index from a backup, or index again"
            )
        return VerifyReport(
            segments=len(snapshot.parts),
            documents=sum(part.numbers.size for part in snapshot.parts.values()),
            bytes=sum(part.segment.record.bytes for part in snapshot.parts.values()),
            stray_files=tuple(creation.stray_files(self._path, self._catalog)),
        )

    def _current(self) -> Snapshot:
        """The newest committed state; reloads when another process has committed."""
        self._require_open()
        with self._refreshing:
            version = self._catalog.version()
            if version != self._version:
                self._snapshot = load_snapshot(self._path, self._catalog, self._snapshot)
                self._version = version
            return self._snapshot

    def _query_vectors(self, query: object) -> NDArray[np.float32]:
        if isinstance(query, str):
            _check_question(query)
            return self._question_vectors(query)
        if not isinstance(query, np.ndarray):
            raise TypeError(f"query: want a string or an array (tokens, {self.dim}), got {type(query).__name__}")
        return incoming.float_vectors(query, "query", self.dim)

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

    def _place(self, id_: str) -> tuple[Part, int]:
        (row,) = self._rows([id_])
        return self._current().parts[row.segment], row.position

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


def _check_k(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise TypeError(f"k: want an int of at least 1, got {type(k).__name__}")
    if k < 1:
        raise ValueError(f"k: want at least 1, got {k}")
    return int(k)


def _check_question(question: str) -> None:
    if not question.strip():
        raise ValueError("query: is empty; ask something")
    if not is_text(question):
        raise ValueError("query: holds a lone surrogate, which is no text; decode its source as UTF-8")


def _warn_of_empty(batch: Incoming) -> None:
    if batch.vectors is not None:
        return
    empty = [id_ for id_, text in zip(batch.ids, batch.texts, strict=True) if not (text or "").strip()]
    if empty:
        warnings.warn(
            f"texts: {len(empty):,} of {len(batch.ids):,} have no words (the first is {empty[0]!r}); "
            "they are kept, but only their ids can find them",
            EmptyTextWarning,
            stacklevel=3,
        )
