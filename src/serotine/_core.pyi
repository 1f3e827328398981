"""Types of the compiled core; see native/bindings."""

from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]
_Bad = tuple[int, int]

def score_grid(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: _Array,
    document_dtype: int,
    document_scales: _Array | None,
    document_begin: _Array,
    document_end: _Array,
    scores: _Array,
    where: _Array | None,
) -> _Bad: ...
def score_separate(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: list[_Array],
    document_dtype: int,
    document_scales: list[_Array] | None,
    scores: _Array,
) -> _Bad: ...
def score_pairs(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: _Array,
    document_dtype: int,
    document_scales: _Array | None,
    document_begin: _Array,
    document_end: _Array,
    pair_queries: _Array,
    pair_documents: _Array,
    scores: _Array,
    where: _Array | None,
) -> _Bad: ...
def top_k(
    queries: _Array,
    query_dtype: int,
    query_scales: _Array | None,
    query_begin: _Array,
    query_end: _Array,
    documents: _Array,
    document_dtype: int,
    document_scales: _Array | None,
    document_begin: _Array,
    document_end: _Array,
    keep: _Array | None,
    scores: _Array,
    indices: _Array,
) -> _Bad: ...
def compiled() -> list[str]: ...
def supported() -> list[str]: ...
def current() -> str: ...
def preferred() -> str: ...
def use(name: str) -> bool: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...

class Codebook:
    def __init__(self, centroids: _Array, scales: _Array) -> None: ...

class Part:
    def __init__(self, offsets: _Array, numbers: _Array, vectors: _Array | None) -> None: ...
    def set_codes(
        self,
        codebook: Codebook,
        ids: _Array,
        steps: _Array,
        errors: _Array,
        residuals: _Array,
        bits: int,
        longest: float,
    ) -> None: ...
    def set_postings(self, starts: _Array, documents: _Array) -> None: ...

def search(
    queries: _Array,
    offsets: _Array,
    parts: list[Part],
    allowed: list[_Array | None],
    k: int,
    refined: int,
    candidates: int,
    rescored: int,
    postings: int,
    exact: bool,
) -> list[tuple[list[float], list[int], dict[str, Any]]]: ...
def residual_scores(query: _Array, part: Part, scores: _Array) -> None: ...
def make_postings(ids: _Array, offsets: _Array, starts: _Array) -> _Array: ...
def encode_residuals(
    codebook: Codebook, vectors: _Array, ids: _Array, bits: int, steps: _Array, errors: _Array, residuals: _Array
) -> None: ...
def decode_residuals(part: Part, first: int, rows: _Array, scales: _Array) -> None: ...
def error_bound(byte: int) -> float: ...
def nearest(
    points: _Array,
    order: _Array,
    group_starts: _Array,
    centroids: _Array,
    members: _Array,
    list_starts: _Array,
    ids: _Array,
) -> None: ...
def cluster_means(points: _Array, ids: _Array, centroids: _Array, squares: _Array, sizes: _Array) -> None: ...
