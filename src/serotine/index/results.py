"""Results of an index: hits, statistics, reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload


@dataclass(frozen=True, slots=True)
class Hit:
    """A document returned by a search.

    Attributes:
        id: the id it was added with.
        score: MaxSim, float32; -inf for a document without tokens. BM25's or the fused score in the other modes.
        text: its text, or None where only vectors were added.
        metadata: the metadata it was added with.

    >>> hit = Hit("apple", 1.5, "A fruit.", {"lang": "en"})
    >>> hit.id, hit.score, hit.metadata["lang"]
    ('apple', 1.5, 'en')
    """

    id: str
    score: float
    text: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SearchStats:
    """Search statistics of one query.

    Attributes:
        plan: the stages used: "flat" scores float16 vectors of every document; "scan" reads every document's
            centroids, "probe" the posting lists of the best centroids, and both score the best documents over their
            codes and then their vectors; "direct" starts with the codes, because a filter leaves few documents;
            "bounds" is the exact search; "bm25" is lexical.
        documents: number of documents that pass the filter, if any.
        tokens: number of document tokens scored over codes or vectors.
        counts: number of documents scored by each stage.
        milliseconds: wall time of each stage, and "search" for all stages together.
    """

    plan: str
    documents: int
    tokens: int
    counts: dict[str, int]
    milliseconds: dict[str, float]


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
    """

    exact: bool
    kth_score: float
    bound: float
    rescored: int
    undecided: int
    statement: str


@dataclass(frozen=True, slots=True)
class Hits(Sequence[Hit]):
    """The hits of one query, best first; a sequence of `Hit`.

    Attributes:
        items: the hits.
        stats: search statistics.
        certificate: the proof of a search with ``exact=True``, else None.

    >>> from serotine.index import SearchStats
    >>> stats = SearchStats("flat", documents=2, tokens=3, counts={"vectors": 2}, milliseconds={"search": 0.1})
    >>> hits = Hits((Hit("apple", 1.5, None, {}), Hit("pear", 1.0, None, {})), stats)
    >>> [hit.id for hit in hits], hits[0].score, hits.stats.plan
    (['apple', 'pear'], 1.5, 'flat')
    """

    items: tuple[Hit, ...]
    stats: SearchStats
    certificate: Certificate | None = field(default=None)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts and sizes of an index.

    Attributes:
        documents: number of live documents.
        deleted: number of tombstones: documents deleted or replaced whose vectors still take space.
        tokens: number of stored token vectors, those of tombstones included.
        dim: dimension of a token vector.
        segments: number of segments.
        coded_tokens: number of tokens with residual codes; the others are in the head, as vectors.
        codebooks: number of codebooks in use.
        centroids: number of centroids of the newest codebook; 0 when there is none yet.
        nbits: bits per dimension of the residual codes.
        keep_vectors: whether float16 vectors stay beside the codes.
        filterable: type names of the indexed metadata fields.
        bytes: size of the segment and codebook files.
        code_bytes_per_token: size of the codes files per coded token; 0 when there are none.
        catalog_bytes: size of the catalog: ids, texts, metadata.
        bytes_per_token: `bytes` per stored token; 0 when there are none.
        encoder: name of the encoder, or None for an index of vectors.
        encoder_options: options it was loaded with: dimension, pool factor, marker position.
        format_version: version of the format on disk.
    """

    documents: int
    deleted: int
    tokens: int
    dim: int
    segments: int
    coded_tokens: int
    codebooks: int
    centroids: int
    nbits: int
    keep_vectors: bool
    filterable: dict[str, str]
    bytes: int
    code_bytes_per_token: float
    catalog_bytes: int
    bytes_per_token: float
    encoder: str | None
    encoder_options: dict[str, Any]
    format_version: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Report of `Index.verify` on an intact index.

    Attributes:
        segments: number of segments whose files were checked: size, header, offsets and checksum.
        codebooks: number of codebooks whose files were checked.
        documents: number of documents whose row and position in a segment were checked.
        bytes: number of bytes read and checksummed.
        stray_files: files in the segment folder that the catalog does not name: left by a writer that was killed,
            harmless, removed when the next writer opens the index.
    """

    segments: int
    codebooks: int
    documents: int
    bytes: int
    stray_files: tuple[str, ...]
