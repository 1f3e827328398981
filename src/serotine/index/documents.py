"""Documents on their way in: everything is checked before anything is written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.errors import DuplicateIdError, EmptyTextWarning
from serotine.index.store.filters import check_metadata
from serotine.texts import is_text, strings

_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Incoming:
    """Checked documents.

    Attributes:
        ids: unique, non-empty.
        texts: one a document, or all None.
        metadata: one JSON object a document.
        vectors: float16 (tokens, dim) a document, or None where the encoder is to make them from the texts.
    """

    ids: list[str]
    texts: list[str | None]
    metadata: list[str]
    vectors: list[NDArray[np.float16]] | None


def document_ids(values: object) -> list[str]:
    """Checked ids: strings, none empty, none twice."""
    ids = strings(values, "ids")
    seen: set[str] = set()
    for i, id_ in enumerate(ids):
        if not id_:
            raise ValueError(f"ids[{i}]: is empty; every document needs an id")
        if id_ in seen:
            raise DuplicateIdError(f"ids[{i}]: {id_!r} stands twice in this call; give every document its own id")
        seen.add(id_)
    return ids


def float_vectors(value: object, name: str, dim: int) -> NDArray[np.float32]:
    """`value` as float32 token vectors (tokens, dim), finite."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: want floats of shape (tokens, {dim}), got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"{name}: want shape (tokens, {dim}), got {array.shape}")
    wide = array.astype(np.float32, copy=False)
    if not np.isfinite(wide).all():
        raise ValueError(f"{name}: holds NaN or infinity")
    return wide


def query_vectors(value: object, dim: int) -> NDArray[np.float32]:
    """A question's checked vectors, of the range documents may have: beyond it, sums of products could overflow."""
    vectors = float_vectors(value, "query", dim)
    if vectors.size and np.abs(vectors).max() > _LARGEST:
        raise ValueError("query: holds values beyond float16 (65,504); scale the vectors down, or normalise them")
    return vectors


def check_question(question: str) -> None:
    """Refuses a question without words."""
    if not question.strip():
        raise ValueError("query: is empty; ask something")
    if not is_text(question):
        raise ValueError("query: holds a lone surrogate, which is no text; decode its source as UTF-8")


def stored_vectors(value: object, name: str, dim: int) -> NDArray[np.float16]:
    """Checked vectors as they are stored: float16; the array itself where it is that already."""
    if isinstance(value, np.ndarray) and value.dtype == np.float16 and value.ndim == 2 and value.shape[1] == dim:
        # The sign apart, what is not finite has the largest bits.
        if ((value.view(np.uint16) & 0x7FFF) >= 0x7C00).any():
            raise ValueError(f"{name}: holds NaN or infinity")
        return value
    wide = float_vectors(value, name, dim)
    with np.errstate(over="ignore"):
        half = wide.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(f"{name}: holds values beyond float16 (65,504); scale the vectors down, or normalise them")
    return half


def check_counts(columns: Mapping[str, Any], count: int) -> None:
    """Refuses what does not give one for each of `count` ids; None gives nothing, and is right."""
    for name, value in columns.items():
        if value is None:
            continue
        if isinstance(value, (str, bytes)):
            raise TypeError(f"{name}: want a list, got one {type(value).__name__}; put it in a list")
        if not hasattr(value, "__len__"):
            raise TypeError(f"{name}: want a list, got {type(value).__name__}; put list(...) around it")
        if len(value) != count:
            raise ValueError(f"{name}: want one for each of the {count:,} ids, got {len(value):,}")


def check(
    ids: Sequence[str],
    texts: Sequence[str] | None,
    vectors: Sequence[Any] | None,
    metadata: Sequence[dict[str, Any]] | None,
    *,
    dim: int,
    has_encoder: bool,
    filterable: Mapping[str, str],
) -> Incoming:
    """Checks one `Index.add` call as a whole.

    Raises:
        TypeError, ValueError, DuplicateIdError: what is wrong, with its position.
    """
    checked_ids = document_ids(ids)
    count = len(checked_ids)
    if texts is None and vectors is None:
        raise ValueError("texts, vectors: one of the two is needed")
    if vectors is None and not has_encoder:
        raise ValueError("vectors: this index was created with dim= and has no encoder; pass vectors")
    check_counts({"texts": texts, "vectors": vectors, "metadata": metadata}, count)
    kept_texts: list[str | None] = [None] * count if texts is None else [*strings(texts, "texts")]
    return Incoming(
        ids=checked_ids,
        texts=kept_texts,
        metadata=_metadata([{}] * count if metadata is None else metadata, filterable),
        vectors=None
        if vectors is None
        else [stored_vectors(value, f"vectors[{i}]", dim) for i, value in enumerate(vectors)],
    )


def warn_of_empty(batch: Incoming) -> None:
    """Tells of texts without words."""
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


def _metadata(values: Sequence[dict[str, Any]], filterable: Mapping[str, str]) -> list[str]:
    packed = []
    for i, value in enumerate(values):
        if not isinstance(value, dict):
            raise TypeError(f"metadata[{i}]: want a dict, got {type(value).__name__}")
        check_metadata(filterable, value, i)
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            # A lone surrogate is a Python string and still no text: SQLite could not store it.
            text.encode("utf-8")
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"metadata[{i}]: cannot be kept as JSON ({error})") from None
        packed.append(text)
    return packed
