"""Serotine for Haystack: a retriever over an index, and a ranker by MaxSim; both fit into pipeline files."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from serotine.errors import missing_extra
from serotine.index import Hit, Index, Mode, TextEncoder
from serotine.integrations import passages

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise ImportError(missing_extra("serotine.integrations.haystack", "haystack")) from error


@component
class SerotineRetriever:
    """The best passages of an index as Haystack documents, with MaxSim (or the mode's score) as their score.

    Args:
        index: an open index, or its folder, which is opened for reading at the first query or by `warm_up`.
        top_k: how many documents.
        where: only documents whose metadata match; as in `Index.search`, not Haystack's filters.
        mode: "late", "bm25" or "hybrid".
        exact: find the true best by MaxSim; warns with `UnprovedWarning` where the index cannot prove the result.
    """

    def __init__(
        self,
        index: Index | str | Path,
        top_k: int = 10,
        where: dict[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
    ) -> None:
        self._path = index.path if isinstance(index, Index) else Path(index)
        self._index = index if isinstance(index, Index) else None
        self.top_k = top_k
        self.where = where
        self.mode: Mode = mode
        self.exact = exact

    def warm_up(self) -> None:
        """Open the index."""
        self._open()

    def _open(self) -> Index:
        if self._index is None:
            self._index = passages.open_index(self._path)
        return self._index

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for a pipeline file; the index is stored as its folder."""
        return default_to_dict(
            self, index=str(self._path), top_k=self.top_k, where=self.where, mode=self.mode, exact=self.exact
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SerotineRetriever":
        """Create the component from a pipeline file."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, where: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return the best documents; `where` and `top_k` override those of the component."""
        hits = passages.search(
            self._open(),
            query,
            k=self.top_k if top_k is None else top_k,
            where=self.where if where is None else where,
            mode=self.mode,
            exact=self.exact,
        )
        return {"documents": [_document(hit) for hit in hits]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, where: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Call `run` in a thread."""
        return await asyncio.to_thread(self.run, query, where, top_k)


@component
class SerotineRanker:
    """A ranker that sorts documents by MaxSim with the query, which becomes their score.

    Args:
        encoder: an encoder, or a name for `serotine.Encoder`, loaded at the first query or by `warm_up`; its default
            unless given.
        top_k: how many documents to return; all unless given.
        encoder_options: options for `serotine.Encoder`.
    """

    def __init__(
        self,
        encoder: TextEncoder | str | Path | None = None,
        top_k: int | None = None,
        encoder_options: dict[str, Any] | None = None,
    ) -> None:
        if encoder is None or isinstance(encoder, (str, Path)):
            self._encoder: TextEncoder | None = None
            self._name = None if encoder is None else str(encoder)
            self._options = encoder_options or {}
        else:
            self._encoder = encoder
            self._name = encoder.name
            self._options = dict(getattr(encoder, "options", {}))
        self.top_k = top_k

    def warm_up(self) -> None:
        """Load the encoder."""
        self._load()

    def _load(self) -> TextEncoder:
        if self._encoder is None:
            self._encoder = passages.load_encoder(self._name, self._options)
        return self._encoder

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for a pipeline file; the encoder is stored as its name and options."""
        return default_to_dict(self, encoder=self._name, top_k=self.top_k, encoder_options=self._options)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SerotineRanker":
        """Create the component from a pipeline file."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """Return copies of the documents, best first; those without content come last."""
        texts = [document.content or "" for document in documents]
        ranked = passages.rerank(self._load(), query, texts, self.top_k if top_k is None else top_k)
        return {"documents": [replace(documents[position], score=score) for position, score in ranked]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Call `run` in a thread."""
        return await asyncio.to_thread(self.run, query, documents, top_k)


def _document(hit: Hit) -> Document:
    return Document(id=hit.id, content=hit.text, meta=hit.metadata, score=hit.score)
