"""The hits of a search, with its statistics and its proof."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, overload

from serotine.errors import EncoderError, SerotineError, SerotineWarning, UnknownIdError, UnknownTextWarning, wrong_type
from serotine.excerpts import word_spans
from serotine.index.hit_tables import html_hit, html_table, one_line, text_table
from serotine.index.store import passage_origin
from serotine.wire import finite

if TYPE_CHECKING:
    import pandas

    from serotine.index.search.explanation import Explanation


def document_of(id_: str, metadata: Mapping[str, Any]) -> str:
    """Return the id of the document that a passage is cut from, or `id_` if it is no passage."""
    document = metadata.get("document")
    return document if isinstance(document, str) else passage_origin(id_, metadata) or id_


class Explainer(Protocol):
    """What explains the hits of a search: the index, or its client."""

    def explain(self, query: str, id_: str) -> Explanation:
        """Return the document token that each query token matches best."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Hit:
    """A document returned by a search.

    Attributes:
        id: the id it was added with.
        score: MaxSim, float32. BM25's, the fused or the summed score in the other modes.
        text: its text, or None where only vectors were added.
        metadata: the metadata it was added with.
        score_per_token: MaxSim divided by the number of query vectors: at most 1 where vectors have length 1, and
            comparable between queries; in mode "xtr" of its score. None in mode "bm25", and where a hit of mode
            "hybrid" has no vectors.
        other_passages: with ``group_by="document"``, number of further passages of its document among those ranked.

    >>> hit = Hit("apple", 1.5, "A fruit.", {"lang": "en"})
    >>> hit.id, hit.score, hit.metadata["lang"]
    ('apple', 1.5, 'en')
    """

    id: str
    score: float
    text: str | None
    metadata: dict[str, Any]
    score_per_token: float | None = None
    other_passages: int = 0

    def __repr__(self) -> str:
        return one_line(self)

    def _repr_html_(self) -> str:
        return html_hit(self)

    @property
    def document(self) -> str:
        """The document that this is a passage of: a long record's id, a file's name; its own id if it is no passage.

        >>> Hit("guide.md#2", 1.5, "Bats fly.", {"source": "guide.md", "start": 80, "end": 89}).document
        'guide.md'
        """
        return document_of(self.id, self.metadata)

    def to_dict(self) -> dict[str, Any]:
        """Return the hit as values that JSON can represent; an infinite or missing score is None.

        >>> Hit("apple", float("-inf"), None, {}).to_dict()["score"] is None
        True
        """
        return {
            "id": self.id,
            "score": finite(self.score),
            "text": self.text,
            "metadata": self.metadata,
            "score_per_token": self.score_per_token,
            "other_passages": self.other_passages,
        }


@dataclass(frozen=True, slots=True)
class SearchStats:
    """Search statistics of one query.

    Attributes:
        plan: the stages used: "flat" scores float16 vectors of every document; "scan" reads every document's
            centroids, "probe" the posting lists of the best centroids, and both score the best documents over their
            codes and then their vectors; "direct" starts with the codes, because a filter leaves few documents;
            "bounds" is the exact search; "bm25" is lexical; "xtr" retrieves tokens by their codes; "pooled" compares
            the pooled vectors, "maxsim" scores the best of these.
        documents: number of documents that pass the filter, if any.
        tokens: number of document tokens scored over codes or vectors.
        counts: number of documents scored by each stage.
        milliseconds: wall time of each stage, and "search" for all stages together.
        below_min_score: number of documents that would be hits, or skipped by `offset`, without `min_score`.
        best_score_per_token: highest `Hit.score_per_token` of any document ranked, also of those below `min_score`;
            None where none has one.
        candidates: effort of the late search: number of documents it was to score over their codes; None for an exact
            search, and in modes "bm25" and "xtr".
        expected_recall: the share of the exact hits that searches of this effort find, as measured on this index (see
            `Index.tune`); 1 where every document was scored exactly; None where it was not measured.
        recall_lower_bound: its lower bound at 95%, one-sided.
    """

    plan: str
    documents: int
    tokens: int
    counts: dict[str, int]
    milliseconds: dict[str, float]
    below_min_score: int = 0
    best_score_per_token: float | None = None
    candidates: int | None = None
    expected_recall: float | None = None
    recall_lower_bound: float | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proof of a search with ``exact=True``: no other document can score above the last hit.

    Attributes:
        exact: whether that is proved for every document.
        kth_score: lowest score among the hits; -inf when there are none.
        bound: highest score that any other document can have; -inf when there is no other.
        rescored: number of documents whose exact score was computed.
        undecided: number of documents that could belong among the hits, where vectors are not stored.
        statement: the proof in words.
        exact_among_searched: where shards were not searched, so that `exact` is False: whether it is proved for every
            document of those that were; None where all were.
    """

    exact: bool
    kth_score: float
    bound: float
    rescored: int
    undecided: int
    statement: str
    exact_among_searched: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as values that JSON can represent; an infinite bound is None."""
        return {**asdict(self), "kth_score": finite(self.kth_score), "bound": finite(self.bound)}


@dataclass(frozen=True, slots=True)
class Partial:
    """What the hits of a sharded index are of, where not all of its shards were searched.

    Attributes:
        searched: numbers of the shards that were searched.
        missing: numbers of those that were down, or did not answer before the deadline.
        statement: this in words, with the reasons.
    """

    searched: tuple[int, ...]
    missing: tuple[int, ...]
    statement: str


@dataclass(frozen=True, slots=True, repr=False)
class Hits(Sequence[Hit]):
    """The hits of one query, best first; a sequence of `Hit`. A slice of it is `Hits` of the same search.

    Notebooks show it as a table with the matched words shaded. The shades are computed when they are first needed,
    from the index that was searched, while it is open; otherwise, as after unpickling, they are the query's words.

    Attributes:
        items: the hits.
        stats: search statistics.
        certificate: the proof of a search with ``exact=True``, else None.
        query: the query, or None where it was given as vectors.
        warnings: what the encoder did not read or know of the query, how it was searched instead, and fields of the
            filter that no document has: the warnings that were issued, whose class is their kind. Also one that is not
            issued, `WeakMatchWarning`: even the best hit is weak.
        partial: of a sharded index: which shards were not searched; None where all were.

    >>> from serotine.index import SearchStats
    >>> stats = SearchStats("flat", documents=2, tokens=3, counts={"vectors": 2}, milliseconds={"search": 0.1})
    >>> hits = Hits((Hit("apple", 1.5, None, {}), Hit("pear", 1.0, None, {})), stats)
    >>> [hit.id for hit in hits], hits[0].score, hits.stats.plan
    (['apple', 'pear'], 1.5, 'flat')
    >>> [hit.id for hit in hits[:1]]
    ['apple']
    """

    items: tuple[Hit, ...]
    stats: SearchStats
    certificate: Certificate | None = field(default=None)
    query: str | None = field(default=None)
    warnings: tuple[SerotineWarning, ...] = ()
    partial: Partial | None = None
    # Weak: hits that are still in use must not hold an index open, nor its writer lock.
    _explainer: weakref.ref[Explainer] | None = field(default=None, compare=False)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: int | slice) -> Hit | Hits:
        if isinstance(index, slice):
            return replace(self, items=self.items[index])
        try:
            return self.items[index]
        except TypeError:
            raise wrong_type("hits", "indexed by a position or a slice", index) from None
        except IndexError:
            count = f"{len(self):,} hit{'' if len(self) == 1 else 's'}"
            raise IndexError(f"hits: there are {count}, got position {index}") from None

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.items)

    def __repr__(self) -> str:
        return text_table(self)

    def _repr_html_(self) -> str:
        return html_table(self)

    def __reduce__(self) -> tuple[type[Hits], tuple[object, ...]]:
        return Hits, (self.items, self.stats, self.certificate, self.query, self.warnings, self.partial)

    def __copy__(self) -> Hits:
        return self[:]

    def answering(self, query: str | None, warnings: Sequence[SerotineWarning], explainer: Explainer) -> Hits:
        """Return these hits with the query they answer, its warnings, and what explains them, as a weak reference."""
        return replace(self, query=query, warnings=tuple(warnings), _explainer=weakref.ref(explainer))

    @property
    def has_unknown_text(self) -> bool:
        """Whether the encoder does not know the query, or most hits, as a warning says: then MaxSim says little."""
        return any(isinstance(warning, UnknownTextWarning) for warning in self.warnings)

    def spans(self, position: int) -> list[tuple[int, int, float]]:
        """Return the matched words in the text of one hit, as `Explanation.spans`; none without a text or a query."""
        hit = self[position]
        if not hit.text or self.query is None:
            return []
        explainer = None if self._explainer is None else self._explainer()
        if explainer is not None and self.stats.plan != "bm25":
            try:
                explanation = explainer.explain(self.query, hit.id)
            except (UnknownIdError, EncoderError):
                # Deleted since the search, or added with vectors whose tokens are unknown.
                return []
            except (SerotineError, ValueError):
                # Closed, or on a server that cannot be reached: the words are a good guess.
                pass
            else:
                if explanation.text == hit.text:
                    return explanation.spans()
        return word_spans(self.query, hit.text)

    def to_dict(self) -> dict[str, Any]:
        """Return query, hits, statistics, certificate and warnings as values that JSON can represent."""
        return {
            "query": self.query,
            "hits": [hit.to_dict() for hit in self.items],
            "stats": asdict(self.stats),
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
            "partial": None if self.partial is None else asdict(self.partial),
            "warnings": [warning.to_dict() for warning in self.warnings],
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with one row per hit: rank, the hit's attributes, and ``metadata.FIELD`` for every field.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(f"to_pandas needs pandas; run: pip install pandas ({error})") from None
        columns = [column.name for column in fields(Hit) if column.name != "metadata"]
        names = list(dict.fromkeys(name for hit in self.items for name in hit.metadata))
        return pandas.DataFrame(
            [
                (rank, *(getattr(hit, name) for name in columns), *(hit.metadata.get(name) for name in names))
                for rank, hit in enumerate(self.items, 1)
            ],
            columns=["rank", *columns, *(f"metadata.{name}" for name in names)],
        )
