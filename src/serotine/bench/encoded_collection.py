"""A judged collection as token vectors, encoded once and cached in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serotine.evaluation import LateInteraction, encoder_for_collection
from serotine.index import encode_queries
from serotine.progress import progress_bar

if TYPE_CHECKING:
    from serotine.evaluation import Collection
    from serotine.text_encoder import TextEncoder


@dataclass(frozen=True, slots=True)
class EncodedCollection:
    """A judged collection as token vectors.

    Attributes:
        collection: the texts and judgements.
        vectors: float16 (tokens, dim), the documents end to end.
        offsets: int64 (documents + 1,).
        queries: float32 (tokens, dim) each, in the order of `collection.queries`.
    """

    collection: Collection
    vectors: NDArray[np.float16]
    offsets: NDArray[np.int64]
    queries: list[NDArray[np.float32]]


def encode_collection(
    collection: Collection, encoder: TextEncoder, cache: Path, *, show_progress: bool = False
) -> EncodedCollection:
    """Encode a collection, except for texts that an interrupted run or `serotine eval` left in `cache`."""
    queries = encode_queries(
        encoder_for_collection(encoder, collection), list(collection.queries.values()), encoder.dim
    )
    texts = list(collection.documents.values())
    vectors: list[NDArray[Any]] = []
    lengths: list[NDArray[Any]] = []
    with progress_bar(len(texts), f"{collection.name}: encoding", enabled=show_progress) as advance:
        for _, arrays in LateInteraction(encoder, cache).vector_cache().blocks(texts, advance):
            vectors.append(arrays["vectors"])
            lengths.append(np.diff(arrays["offsets"]))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return EncodedCollection(collection, np.concatenate(vectors), offsets, queries)
