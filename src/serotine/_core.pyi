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
