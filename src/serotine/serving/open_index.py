"""What the server needs of an open index, be it in a folder or in shards."""

# ruff: noqa: D102 - `Index` documents its methods.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from serotine.index import (
    Explanation,
    Hit,
    Hits,
    IndexStats,
    LongTexts,
    Missing,
    OpenSearch,
    Query,
    SearchKeywords,
    Settings,
    VerifyReport,
)
from serotine.text_encoder import TextEncoder


class OpenIndex(Protocol):
    """The methods of `Index` that the server uses; `Index` documents them."""

    @property
    def dim(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, id_: str, /) -> Hit: ...
    def get(self, ids: Sequence[str], *, missing: Missing) -> Sequence[Hit | None]: ...
    def ids(self, *, where: Mapping[str, Any] | None = None) -> list[str]: ...
    def vectors(self, id_: str) -> NDArray[np.float16]: ...
    def stats(self) -> IndexStats: ...
    def verify(self) -> VerifyReport: ...
    def explain(self, query: str, id_: str) -> Explanation: ...
    def search_batch(self, queries: Sequence[Query], k: int = 10, **options: Unpack[SearchKeywords]) -> list[Hits]: ...
    def add(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None = None,
        vectors: Sequence[NDArray[np.floating[Any]]] | None = None,
        metadata: Sequence[dict[str, Any]] | None = None,
        *,
        upsert: bool = False,
        long_texts: LongTexts = "warn",
    ) -> None: ...
    def add_batches(self, batches: Iterable[Mapping[str, Any]], *, long_texts: LongTexts = "warn") -> int: ...
    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int: ...
    def update_metadata(
        self, ids: Sequence[str], metadata: Sequence[dict[str, Any]], *, replace: bool = False
    ) -> None: ...
    def compact(self) -> None: ...
    def close(self) -> None: ...
    def _open_search(self) -> AbstractContextManager[OpenSearch]: ...


class OpenShards(OpenIndex, Protocol):
    """An index in shards: its changes reach storage with a snapshot, and those of others with a refresh."""

    def snapshot(self) -> None: ...
    def refresh(self) -> int: ...


class ShardsOpener(Protocol):
    """Where an index in shards is, and how it is opened."""

    @property
    def url(self) -> str: ...
    def settings(self) -> Settings:
        """Return the settings of every shard."""
        ...

    def open(self, encoder: TextEncoder | None) -> OpenShards:
        """Open the index, whose queries `encoder` encodes."""
        ...
