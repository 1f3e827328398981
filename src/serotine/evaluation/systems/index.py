"""An index as a system to evaluate."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serotine.encoders import as_text_encoder
from serotine.errors import SerotineError
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Run
from serotine.evaluation.systems.base import Answer, encoder_for_collection, encoder_record
from serotine.index import encode_queries
from serotine.progress import progress_bar
from serotine.texts import has_visible

if TYPE_CHECKING:
    from serotine.index import FirstStage, Index
    from serotine.text_encoder import AnyEncoder

EvaluatedMode: TypeAlias = Literal["late", "xtr", "pooled"]
_BATCH_SIZE = 64


class IndexSearch:
    """An index as a system to evaluate, searched approximately or exactly.

    Args:
        index: an open index of the collection, with the same document ids.
        encoder: the encoder the index was built with, or its name.
        exact: whether to search exactly, with a proof of every answer.
        mode: "late" ranks by MaxSim, "xtr" by retrieved tokens, "pooled" by MaxSim and pooled vectors; see
            `Index.search`.
        k_token: in mode "xtr", tokens that every query token retrieves.
        weights: in mode "pooled", of MaxSim and of the pooled vectors; by default those of the index.
        first_stage: in mode "pooled", where candidates come from.

    >>> from serotine.evaluation import Collection, IndexSearch
    >>> from serotine import Encoder, Index
    >>> toy = Collection("toy", {"a": "owls hunt at night", "b": "bees"}, {"q": "night birds"}, {"q": {"a": 1}})
    >>> encoder = Encoder()
    >>> with Index.create("toy.serotine", encoder=encoder) as index:
    ...     index.add(ids=list(toy.documents), texts=list(toy.documents.values()))
    ...     next(iter(IndexSearch(index, encoder).answer(toy, depth=2).run["q"]))
    'a'
    """

    def __init__(
        self,
        index: Index,
        encoder: AnyEncoder,
        *,
        exact: bool = False,
        mode: EvaluatedMode = "late",
        k_token: int | None = None,
        weights: tuple[float, float] | None = None,
        first_stage: FirstStage | None = None,
    ) -> None:
        self._index = index
        self._encoder = as_text_encoder(encoder)
        self._exact = exact
        self._mode: EvaluatedMode = mode
        self._k_token = k_token
        self._weights = weights
        self._first_stage = first_stage

    @property
    def name(self) -> str:
        """The path of the index, and the mode where it is not "late", with its weights if they are given."""
        if self._mode == "late":
            return str(self._index.path)
        weights = "" if self._weights is None else f" {self._weights[0]:g} {self._weights[1]:g}"
        return f"{self._index.path} ({self._mode}{weights})"

    @property
    def key(self) -> str:
        """The encoder's fingerprint and the state of the catalog."""
        catalog = max(file.stat().st_mtime_ns for file in self._index.path.glob("catalog.sqlite*"))
        search = f"{self._exact} {self._mode} {self._k_token} {self._weights} {self._first_stage}"
        return f"index {self._encoder.fingerprint} {search} {self._index.stats()} {catalog}"

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        """Search every query; see `System.answer`.

        Raises:
            SerotineError: the index contains none of the collection's documents.
            EncoderError: mode "pooled", and the index has no model for the pooled vectors of queries.
            ValueError: `k_token` is less than the depth.
        """
        # One document more than the depth is retrieved where the query's own is dropped.
        if self._k_token is not None and self._k_token + 1 < depth:
            raise ValueError(f"k_token: must be at least the depth ({depth}), got {self._k_token}; raise it")
        k_token = None if self._k_token is None else max(self._k_token, depth)
        notes, split = document_notes(self._index, collection)
        encoder = encoder_for_collection(self._encoder, collection)
        started = time.perf_counter()
        queries = [query for query, text in collection.queries.items() if has_visible(text)]
        texts = [collection.queries[query] for query in queries]
        vectors = encode_queries(encoder, texts, self._index.dim)
        pooled = self._pooled(texts)
        encoding = time.perf_counter() - started
        run: Run = {query: {} for query in collection.queries}
        proved, plans = 0, set()
        started = time.perf_counter()
        with progress_bar(len(queries), f"{collection.name}: searching", enabled=show_progress) as advance:
            for start in range(0, len(queries), _BATCH_SIZE):
                batch = queries[start : start + _BATCH_SIZE]
                results = self._index.search_batch(
                    vectors[start : start + _BATCH_SIZE],
                    depth,
                    pooled=None if pooled is None else pooled[start : start + _BATCH_SIZE],
                    mode=self._mode,
                    exact=self._exact,
                    k_token=k_token,
                    weights=self._weights,
                    first_stage=self._first_stage,
                    group_by="document" if split else None,
                )
                for query, hits in zip(batch, results, strict=True):
                    run[query] = {hit.document if split else hit.id: hit.score for hit in hits if hit.score > -np.inf}
                    proved += hits.certificate is not None and hits.certificate.exact
                    plans.add(hits.stats.plan)
                advance(len(batch))
        searching = time.perf_counter() - started
        if self._exact and proved < len(queries):
            notes.append(f"{len(queries) - proved:,} answers could not be proved exact: the index stores no vectors")
        stats = self._index.stats()
        # The plan "flat" scores every document with its vectors, with or without a proof.
        exact = plans <= {"flat"} or (self._exact and proved == len(queries))
        record = {
            "kind": "index",
            "retrieval": f"the index's search, {'exact' if exact else 'approximate'}: {', '.join(sorted(plans))}",
            "exact": exact,
            "dtype": "float16" if stats.keep_vectors else f"{stats.nbits} bits",
            "nbits": stats.nbits,
            "keep_vectors": stats.keep_vectors,
            "bytes_per_token": stats.bytes_per_token,
            "dim": stats.dim,
            **encoder_record(encoder),
            "seconds": {"encoding": encoding, "searching": searching},
        }
        return Answer(run, record, notes)

    def _pooled(self, texts: list[str]) -> NDArray[np.float32] | None:
        if self._mode != "pooled":
            return None
        return self._index.pooled_encoder.encode_pooled(texts, query=True)


def document_notes(index: Index, collection: Collection) -> tuple[list[str], bool]:
    """Return notes on documents that only the collection, or only the index, contains; and whether any was split.

    A long record is in the index as passages: ID#1, ID#2, ...

    Raises:
        SerotineError: the index contains none of the collection's documents.
    """
    ids = index.ids()
    passages = [id_ for id_ in ids if id_ not in collection.documents and _record(id_) in collection.documents]
    indexed = set(ids).difference(passages).union(map(_record, passages))
    missing = sum(id_ not in indexed for id_ in collection.documents)
    if missing == len(collection.documents):
        raise SerotineError(
            f"{index.path}: contains no document of {collection.name}; index that collection: "
            f"serotine index FOLDER --output {shlex.quote(str(index.path))}"
        )
    notes = []
    if passages:
        notes.append(f"{len(passages):,} passages of longer documents: a document ranks by its best passage")
    if missing:
        notes.append(f"the index lacks {missing:,} of the collection's {len(collection.documents):,} documents")
    if others := len(indexed) - (len(collection.documents) - missing):
        notes.append(f"the index contains {others:,} documents that are not in the collection")
    return notes, bool(passages)


def _record(id_: str) -> str:
    record, _, number = id_.rpartition("#")
    return record if number.isdecimal() else id_
