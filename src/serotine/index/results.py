"""What an index returns: hits, statistics, reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found.

    Attributes:
        id: the id it was added with.
        score: MaxSim, float32; -inf for a document without tokens. BM25's score, or the fused one, in those modes.
        text: its text, or None where only vectors were added.
        metadata: what was stored with it.
    """

    id: str
    score: float
    text: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SearchStats:
    """How an answer was found.

    Attributes:
        plan: the way that was chosen: "flat" scores float16 vectors of every document; "scan" looks at every
            document's centroids, "probe" at the posting lists of the best centroids, and both score the best documents
            over their codes and then their vectors; "direct" starts with the codes, because a filter leaves few;
            "bounds" is the exact search; "bm25" is lexical.
        documents: documents that the filter, if any, lets through.
        tokens: document tokens scored over codes or vectors.
        counts: documents scored by each stage.
        milliseconds: wall time of each stage, and "search" for all of them together.
    """

    plan: str
    documents: int
    tokens: int
    counts: dict[str, int]
    milliseconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Certificate:
    """What ``exact=True`` proved: nothing outside the hits can score above the last of them.

    Attributes:
        exact: whether that is proved for every document.
        kth_score: the lowest score among the hits; -inf when there are none.
        bound: the highest score any other document can have; -inf when there is no other.
        rescored: documents whose exact score was computed.
        undecided: documents that could belong among the hits, where vectors are not kept to tell.
        statement: the same in words.
    """

    exact: bool
    kth_score: float
    bound: float
    rescored: int
    undecided: int
    statement: str


@dataclass(frozen=True, slots=True)
class Hits(Sequence[Hit]):
    """The hits of one query, best first, with how they were found.

    Attributes:
        items: the hits.
        stats: the plan, its counts and times.
        certificate: the proof, where ``exact=True`` asked for one.
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
        documents: documents that a search can find.
        deleted: documents deleted or replaced whose vectors still take space.
        tokens: stored token vectors, those of deleted documents included.
        dim: dimension of a token vector.
        segments: segment files.
        coded_tokens: how many of them are kept as residual codes; the others wait in the head, as vectors.
        codebooks: codebooks in use.
        centroids: centroids of the newest codebook; 0 when there is none yet.
        nbits: bits a dimension of the residual codes.
        keep_vectors: whether float16 vectors stay beside the codes.
        filterable: type names of the indexed metadata fields.
        bytes: size of the segment and codebook files.
        code_bytes_per_token: size of the codes files over the tokens in them; 0 when there are none.
        catalog_bytes: size of the catalog: ids, texts, metadata.
        bytes_per_token: all of these bytes over stored tokens; 0 when there are none.
        encoder: name of the encoder, or None for an index of vectors.
        encoder_options: what else it was loaded with: dimension, pool factor, place of the marker.
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
    """What `Index.verify` looked at, all of it sound.

    Attributes:
        segments: segments whose files were checked: size, header, offsets and checksum.
        codebooks: codebooks whose files were checked.
        documents: documents whose row and place in a segment were checked.
        bytes: bytes read and checksummed.
        stray_files: files in the segment folder that the catalog does not name: left by a writer that was killed,
            harmless, swept when the next writer opens the index.
    """

    segments: int
    codebooks: int
    documents: int
    bytes: int
    stray_files: tuple[str, ...]
