"""Validation of documents and queries: everything is checked before anything is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import (
    DuplicateIdError,
    EmptyTextWarning,
    invalid,
    is_list,
    no_list,
    shown_id,
    unknown_key,
    wrong_type,
)
from serotine.index.store import PooledSettings, Settings, check_metadata
from serotine.issued_warnings import issue_warning
from serotine.json_values import json_value, metadata_problem
from serotine.texts import (
    MAX_ID_BYTES,
    MAX_QUERY_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    has_visible,
    is_long_id,
    is_text,
    strings,
)
from serotine.wording import worded

_COLUMNS = ("ids", "texts", "vectors", "metadata", "pooled")
# What a column of each name is a list of.
_VALUES = {"texts": "strings", "vectors": "arrays", "metadata": "dicts, one per id", "pooled": "arrays"}
_FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class DocumentBatch:
    """Validated documents.

    Attributes:
        ids: unique, non-empty.
        texts: one per document, or all None.
        metadata: one JSON object per document.
        vectors: float16 (tokens, dim) per document, or None where the texts are to be encoded.
        pooled: float16 (documents, pooled dim), or None where the texts are to be encoded, or none are stored.
    """

    ids: list[str]
    texts: list[str | None]
    metadata: list[str]
    vectors: list[NDArray[np.float16]] | None
    pooled: NDArray[np.float16] | None = None

    @property
    def stored_texts(self) -> list[str]:
        """The texts to encode; "" for a document without one."""
        return [text or "" for text in self.texts]

    @property
    def catalog_bytes(self) -> int:
        """About how much the catalog grows by, with its WAL: by the documents, and by the index of their words."""
        return 4 * sum(map(len, (*self.ids, *self.stored_texts, *self.metadata)))


def document_ids(values: object) -> list[str]:
    """Return `values` as unique, non-empty strings."""
    ids = strings(values, "ids")
    unique: set[str] = set()
    for i, id_ in enumerate(ids):
        if not id_:
            raise ValueError(f"ids[{i}]: must not be empty; every document needs an id")
        if is_long_id(id_):
            raise ValueError(
                f"ids[{i}]: must be at most {MAX_ID_BYTES:,} bytes of UTF-8, got {len(id_.encode()):,}; "
                "store what is longer as text or metadata"
            )
        if id_ in unique:
            raise DuplicateIdError(f"ids[{i}]: duplicate id {shown_id(id_)}; ids must be unique")
        unique.add(id_)
    return ids


def float_vectors(value: object, name: str, dim: int) -> NDArray[np.float32]:
    """Return `value` as finite token vectors, float32 (tokens, dim)."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: must be floats of shape (tokens, {dim}), got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"{name}: must have shape (tokens, {dim}), got {array.shape}")
    vectors = array.astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name}: must be finite, got NaN or infinity")
    return vectors


def query_vectors(value: object, dim: int) -> NDArray[np.float32]:
    """Return a query's token vectors in the range that documents may have: beyond it, sums could overflow."""
    if not isinstance(value, np.ndarray):
        raise wrong_type("query", f"a string or an array of shape (tokens, {dim})", value)
    vectors = float_vectors(value, "query", dim)
    if vectors.size and np.abs(vectors).max() > _FLOAT16_MAX:
        raise _beyond_float16("query")
    return vectors


def validate_query(query: object) -> str:
    """Return a query if it is a text with words.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(query, str):
        raise wrong_type("query", "a string", query)
    if len(query) > MAX_QUERY_CHARACTERS:
        raise ValueError(
            f"query: must be at most {MAX_QUERY_CHARACTERS:,} characters, got {len(query):,}; "
            "search for a part of it, or add it as a document"
        )
    if not is_text(query):
        raise ValueError("query: contains a lone surrogate, which is not text; decode its source as UTF-8")
    if not has_visible(query):
        raise ValueError("query: must not be empty")
    return query


def stored_vectors(value: object, name: str, dim: int) -> NDArray[np.float16]:
    """Return vectors as they are stored, finite float16 (tokens, dim); the array itself where it is that already."""
    if isinstance(value, np.ndarray) and value.dtype == np.float16 and value.ndim == 2 and value.shape[1] == dim:
        # Without the sign bit, the largest values are infinity and NaN.
        if ((value.view(np.uint16) & 0x7FFF) >= 0x7C00).any():
            raise ValueError(f"{name}: must be finite, got NaN or infinity")
        return value
    if isinstance(value, Mapping):
        fix = worded("pass metadata by its name: metadata=[...]", http="send metadata as a field of its own")
        raise wrong_type(name, f"float (tokens, {dim})", value, fix=fix)
    vectors = float_vectors(value, name, dim)
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    if not np.isfinite(half).all():
        raise _beyond_float16(name)
    return half


def finite_pooled(value: object, name: str, count: int, dim: int) -> NDArray[np.float32]:
    """Return pooled vectors, a float array or a list of arrays, as finite float32 (count, dim); errors name the row."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: must have shape ({count}, {dim}), got arrays of several shapes") from None
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: must be floats of shape ({count}, {dim}), got dtype {array.dtype}")
    if array.shape != (count, dim):
        raise ValueError(f"{name}: must have shape ({count}, {dim}), got {array.shape}")
    vectors = array.astype(np.float32, copy=False)
    if (row := _first_row(~np.isfinite(vectors))) is not None:
        raise ValueError(f"{name}[{row}]: must be finite, got NaN or infinity; compute it again, or leave it out")
    return vectors


def pooled_query(value: object, name: str, dim: int, *, normalize: bool) -> NDArray[np.float32]:
    """Return the pooled vector of a query, float32 (dim,), in the range that documents may have."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: must be floats of shape ({dim},), got dtype {array.dtype}")
    if array.shape != (dim,):
        raise ValueError(f"{name}: must have shape ({dim},), got {array.shape}")
    vectors = array.astype(np.float32, copy=False)[None]
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name}: must be finite, got NaN or infinity; compute it again")
    vectors = unit_rows(vectors) if normalize else vectors
    if np.abs(vectors).max() > _FLOAT16_MAX:
        raise _beyond_float16(name)
    query: NDArray[np.float32] = vectors[0]
    return query


def check_pooled_list(values: object, count: int) -> None:
    """Raise TypeError or ValueError for pooled vectors of queries that are no list of one per query."""
    check_column(values, "pooled")
    if len(values) != count:  # type: ignore[arg-type]
        raise ValueError(f"pooled: must have one vector per query, {count:,}, got {len(values):,}")  # type: ignore[arg-type]


def _first_row(is_bad: NDArray[np.bool_]) -> int | None:
    """Return the first row of (rows, columns) with a true value, or None."""
    rows = np.flatnonzero(is_bad.any(axis=1))
    return int(rows[0]) if rows.size else None


def stored_pooled(value: object, name: str, count: int, dim: int, *, normalize: bool = False) -> NDArray[np.float16]:
    """Return pooled vectors as they are stored, finite float16 (count, dim); `normalize` scales them to length 1."""
    vectors = finite_pooled(value, name, count, dim)
    vectors = unit_rows(vectors) if normalize else vectors
    if (row := _first_row(np.abs(vectors) > _FLOAT16_MAX)) is not None:
        raise _beyond_float16(f"{name}[{row}]")
    return stored_vectors(vectors, name, dim)


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors scaled to length 1; zeros stay."""
    # The squares of float32 may be beyond its range.
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _beyond_float16(name: str) -> ValueError:
    return ValueError(f"{name}: contains values beyond float16 (65,504); scale the vectors down, or normalize them")


def check_query_list(queries: object) -> None:
    """Raise TypeError for queries that are no list, such as one query."""
    if not is_list(queries):
        raise no_list("queries", "strings or arrays", queries)


def check_tuning_queries(queries: Sequence[object]) -> None:
    """Raise TypeError or ValueError for queries to measure recall with that are no list of at least one."""
    check_query_list(queries)
    if not len(queries):
        raise invalid("queries", "a list of at least one query", queries)


def check_column(values: object, name: str) -> None:
    """Raise TypeError for a column that is no list, such as one value."""
    if not is_list(values) or not hasattr(values, "__len__"):
        raise no_list(name, _VALUES[name], values)


def validate_counts(columns: Mapping[str, Any], count: int) -> None:
    """Raise an error for a column without exactly one value per id; None means no column."""
    for name, values in columns.items():
        if values is None:
            continue
        check_column(values, name)
        if len(values) != count:
            raise ValueError(f"{name}: must have one value per id, {count:,}, got {len(values):,}")


def validate_documents(
    ids: Sequence[str],
    texts: Sequence[str] | None,
    vectors: Sequence[Any] | None,
    metadata: Sequence[dict[str, Any]] | None,
    *,
    settings: Settings,
    pooled: object = None,
) -> DocumentBatch:
    """Validate the arguments of one `Index.add` call.

    Raises:
        TypeError, ValueError, DuplicateIdError: names the argument and the position.
    """
    unique_ids = document_ids(ids)
    count = len(unique_ids)
    if texts is None and vectors is None:
        raise ValueError("texts, vectors: one of the two is needed")
    if vectors is None and settings.encoder is None:
        created = worded("was created with dim= and has no encoder", http="has no encoder")
        raise ValueError(f"vectors: needed, because this index {created}")
    validate_counts({"texts": texts, "vectors": vectors, "metadata": metadata, "pooled": pooled}, count)
    _check_pooled(pooled, settings.pooled, has_texts=texts is not None)
    objects = [{}] * count if metadata is None else validate_metadata(metadata, settings.filterable)
    _check_sizes(objects)
    return DocumentBatch(
        ids=unique_ids,
        texts=[None] * count if texts is None else [*strings(texts, "texts")],
        metadata=[metadata_text(value) for value in objects],
        vectors=None
        if vectors is None
        else [stored_vectors(value, f"vectors[{i}]", settings.dim) for i, value in enumerate(vectors)],
        pooled=None
        if pooled is None or settings.pooled is None or not count
        else stored_pooled(
            pooled, "pooled", count, settings.pooled.dim, normalize=settings.pooled.similarity == "cosine"
        ),
    )


def _check_pooled(pooled: object, settings: PooledSettings | None, *, has_texts: bool) -> None:
    """Raise ValueError where pooled vectors are given and not stored, or stored and neither given nor encoded."""
    if settings is None:
        if pooled is not None:
            raise ValueError("pooled: this index stores no pooled vectors; leave it out, or create the index with them")
    elif pooled is None and not (has_texts and settings.encoder is not None):
        why = "and no texts to encode were given" if settings.encoder is not None else "which callers give"
        by_http = "send texts" if settings.encoder is not None else "add to it from Python"
        # `Client`, whose messages are these too, sends no pooled vectors.
        fix = worded(f"pass an array of shape (documents, {settings.dim}) to Index.add", http=by_http)
        raise ValueError(f"pooled: needed, because this index stores pooled vectors, {why}; {fix}")


def check_text_lengths(texts: Sequence[object] | None) -> None:
    """Raise ValueError for a text that is longer than a document may be, TypeError where they are no list."""
    if texts is None:
        return
    check_column(texts, "texts")
    for i, text in enumerate(texts):
        if isinstance(text, str) and len(text) > MAX_TEXT_CHARACTERS:
            raise ValueError(
                f"texts[{i}]: must be at most {MAX_TEXT_CHARACTERS:,} characters, got {len(text):,}; "
                "split it into documents"
            )


def warn_about_empty_texts(batch: DocumentBatch) -> None:
    """Warn about texts without words."""
    if batch.vectors is not None:
        return
    empty = [id_ for id_, text in zip(batch.ids, batch.texts, strict=True) if not has_visible(text or "")]
    if empty:
        issue_warning(
            EmptyTextWarning(
                f"texts: {len(empty):,} of {len(batch.ids):,} have no words, the first is {empty[0]!r}; "
                "they are stored, but no search returns them"
            )
        )


def validate_metadata(values: Sequence[dict[str, Any]], filterable: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return metadata as JSON represents them, with values of the declared types in declared fields.

    Raises:
        TypeError, ValueError: names the position and the key.
    """
    objects = json_metadata(values)
    for i, value in enumerate(objects):
        check_metadata(filterable, value, i)
    return objects


def json_metadata(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return metadata as JSON represents them.

    Raises:
        TypeError, ValueError: names the position and the key.
    """
    check_column(values, "metadata")
    objects = []
    for i, value in enumerate(values):
        if not isinstance(value, dict):
            raise wrong_type(f"metadata[{i}]", "a dict", value, fix="use {} for a document without metadata")
        objects.append(json_value(value, f"metadata[{i}]"))
    return objects


def _check_sizes(metadata: Sequence[Mapping[str, Any]]) -> None:
    for i, value in enumerate(metadata):
        if problem := metadata_problem(value):
            raise ValueError(f"metadata[{i}]: {problem}")


def validate_deletion(ids: object, where: object) -> None:
    """Raise ValueError unless either ids or a filter say which documents to delete."""
    if (ids is None) == (where is None):
        raise ValueError("ids, where: exactly one of the two is needed")
    if isinstance(where, Mapping) and not where:
        raise ValueError("where: must not be empty, or every document would match; to delete all, pass their ids")


def validate_batch(batch: object) -> dict[str, Any]:
    """Return a batch of `Index.add_batches`: columns by name, of which "ids" is one.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(batch, Mapping):
        fix = "put one batch in a list" if isinstance(batch, str) and batch in _COLUMNS else ""
        raise wrong_type("batches", "dicts with 'ids'", batch, fix=fix)
    if "ids" not in batch:
        raise ValueError(f"batches: must be dicts with 'ids', got one with {', '.join(map(repr, batch)) or 'nothing'}")
    for name in batch:
        if name not in _COLUMNS:
            raise ValueError(f"batches: {unknown_key(name, _COLUMNS)}")
    return dict(batch)


def metadata_text(metadata: dict[str, Any]) -> str:
    """Return validated metadata as the catalog stores them."""
    return json.dumps(metadata, ensure_ascii=False)
