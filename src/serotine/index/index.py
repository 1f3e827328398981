"""The index: documents in, hits out, on disk, with one writer and any number of readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from serotine.errors import IndexExistsError, SerotineError, check_flags
from serotine.index import recorded_encoder
from serotine.index.creation import CreateKeywords, CreateOptions
from serotine.index.document_explainer import DocumentExplainer
from serotine.index.documents import check_query_list, check_tuning_queries
from serotine.index.hits import Hits
from serotine.index.index_changes import IndexChanges
from serotine.index.interrupted import interrupted_update
from serotine.index.pooled_model import Pooled, PooledModel, as_pooled_encoder
from serotine.index.queries import Query, QueryEncoder, query_texts
from serotine.index.recorded_encoder import RecordedEncoder
from serotine.index.search import (
    Explanation,
    FirstStage,
    Fusion,
    GroupBy,
    Mode,
    SearchKeywords,
    SearchOptions,
    StoredDocuments,
)
from serotine.index.searcher import OpenSearch, Searcher
from serotine.index.store import Sources, Store, read_settings
from serotine.index.tuning import TuneReport
from serotine.index.writer import Writer
from serotine.text_encoder import AnyEncoder, PooledEncoder, TextEncoder


class Index(IndexChanges):
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

    def __init__(self, store: Store, encoder: TextEncoder | None, pooled: PooledEncoder | None = None) -> None:
        super().__init__(store)
        self._encoder = RecordedEncoder(store.settings, store.folder, encoder)
        self._pooled = PooledModel(store.settings, store.folder, pooled, self._encoder)
        self._writer = Writer(store, self._encoder, self._pooled)
        self._queries = QueryEncoder(self._encoder, store.settings.dim, self._pooled)
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
        pooled: Pooled | None = None,
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
            pooled: store one vector of each whole text too, for mode "pooled" of `search`: True for that of
                `encoder`, a dense one; a name or an encoder for that of another dense model, which then reads every
                text as well; or a dimension, for vectors that are passed to `add` and `search`. None by default.
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
        options = CreateOptions.of(encoder, dim, nbits, keep_vectors, filterable, centroids, pooled)
        if exist_ok and Store.exists(path):
            options.check_existing(Path(path), read_settings(path))
            return cls._opened(path, options)
        options = options.with_encoder()
        try:
            Store.create(path, options.settings())
        except IndexExistsError:
            # Another process may have created it since.
            if not (exist_ok and Store.exists(path)):
                raise
            options.check_existing(Path(path), read_settings(path))
        return cls._opened(path, options)

    @classmethod
    def _opened(cls, path: str | Path, options: CreateOptions) -> Index:
        return cls._open(path, read_only=False, encoder=options.encoder, pooled=options.pooled_model)

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
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        encoder: AnyEncoder | None = None,
        pooled: AnyEncoder | None = None,
    ) -> Index:
        """Open an index.

        Args:
            path: the index's folder.
            read_only: open for reading; any number may read while one writes, and each sees new commits at its next
                search.
            encoder: the encoder it was built with, or its name; by default `serotine.Encoder` loads it by its recorded
                name when a text first needs it.
            pooled: the dense model of its pooled vectors, or its name; by default loaded like the encoder.

        Raises:
            NotAnIndexError: `path` is not an index, or one of another format.
            IndexLockedError: another writer has it open.
            IndexDamagedError: a file is missing, truncated or damaged.
            EncoderError: `encoder` or `pooled` is not the one the index was built with.
        """
        check_flags(read_only=read_only)
        model = None if pooled is None else as_pooled_encoder(pooled)
        return cls._open(path, read_only=read_only, encoder=recorded_encoder.adapt(encoder), pooled=model)

    @classmethod
    def _open(
        cls, path: str | Path, *, read_only: bool, encoder: TextEncoder | None, pooled: PooledEncoder | None
    ) -> Index:
        store = Store.open(path, read_only=read_only)
        try:
            return cls(store, encoder, pooled)
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
    def pooled_encoder(self) -> PooledEncoder:
        """The dense model of its pooled vectors, loaded when first needed; raises EncoderError where there is none."""
        return self._pooled.get()

    @property
    def sources(self) -> Sources:
        """The files that documents were read from."""
        return self._store.sources

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
        first_stage: FirstStage | None = None,
        pooled: NDArray[np.floating[Any]] | None = None,
    ) -> Hits:
        """Return the k best documents for a query.

        Args:
            query: a text, or its token vectors, float (tokens, dim).
            k: number of hits; fewer if fewer documents pass the filter, or in mode "bm25" share a word.
            where: filter on metadata: ``{"lang": "en", "year": {">=": 2020}}``; docs/indexes.md lists the operators.
            mode: "late" ranks by MaxSim, "bm25" by words, "hybrid" by both, "xtr" by retrieved tokens (see `k_token`),
                "pooled" by MaxSim per query token and the pooled vectors that the index was created with;
                "late" becomes "hybrid", as `Hits.warnings` then says, where more than 20% of the query, or of most of
                the documents that it finds, is outside the encoder's vocabulary.
            exact: return the true best by MaxSim over the stored vectors, with a proof: see `Hits.certificate`.
            fusion: how "hybrid" joins its rankings: "rrf" by reciprocal rank (Cormack et al. 2009), "sum" by the
                weighted sum of scores normalized to 0..1.
            weights: of the late and of the lexical ranking in "hybrid"; unless given, equal, or what the encoder knows
                of the query or of what it finds for the late one. In mode "pooled" of MaxSim and of the similarity of
                the pooled vectors: (0, 1) ranks by these alone; unless given, what `set_pooled_weights` recorded, or
                (1, 0.1).
            candidates: for experts, instead of `recall`: number of documents scored over their codes; in mode "pooled",
                of documents that each first stage contributes.
            offset: number of the best hits to skip, for paging: the k after them are returned.
            min_score: lowest `Hit.score_per_token` of a hit; `Hits.stats` counts those below. See docs/indexes.md.
            group_by: "document" returns one hit per document, its best passage.
            recall: the share of the exact k best that the search is to find, above 0 and at most 1; 0.99 unless
                given. The least effort that keeps it is chosen from what `tune` measured; see docs/indexes.md.
            k_token: in mode "xtr" (Lee et al. 2023), tokens that every query token retrieves, at least as many as hits;
                1,000 unless given. Only these make scores and hits; no recall is promised. docs/indexes.md has more.
            first_stage: in mode "pooled", where candidates come from: "tokens", the late search; "pooled", the pooled
                vectors, which are then all that is compared with every document; None for both, until no document
                outside them can be among the best by what the late search ranks.
            pooled: in mode "pooled", the query's pooled vector, float (dimension,), where the query is given as token
                vectors, or the index has no model.

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
            k, where, mode, exact, fusion, weights, candidates, offset, min_score, group_by, recall, k_token,
            first_stage
        )  # fmt: skip
        return self._search([query], options, None if pooled is None else [pooled])[0]

    def search_batch(
        self,
        queries: Sequence[Query],
        k: int = 10,
        *,
        pooled: NDArray[np.floating[Any]] | Sequence[NDArray[np.floating[Any]]] | None = None,
        **options: Unpack[SearchKeywords],
    ) -> list[Hits]:
        """Return the hits of many queries, encoded together and searched in parallel; options as for `search`.

        `pooled` has one vector per query.
        """
        check_query_list(queries)
        given = None if pooled is None else list(pooled)
        return self._search(list(queries), SearchOptions(k, **options), given)

    def _search(self, queries: Sequence[Query], options: SearchOptions, pooled: Sequence[Any] | None) -> list[Hits]:
        with self._open_search() as search:
            return search.hits(queries, options, pooled=pooled)

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
