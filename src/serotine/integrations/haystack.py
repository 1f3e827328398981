"""Serotine for Haystack: a retriever over an index, and a ranker by MaxSim; both fit into pipeline files."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from serotine.index import Hit, Index, Mode, TextEncoder
from serotine.integrations import passages

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise ImportError(
        f"serotine.integrations.haystack needs haystack-ai ({error}); run: pip install 'serotine[haystack]'"
    ) from None


@component
class SerotineRetriever:
    """The best passages of an index as Haystack documents, with MaxSim (or the mode's score) as their score.

    Args:
        index: the folder of an index, opened for reading when first asked (or by `warm_up`), or an open index.
        top_k: how many documents.
        where: only documents whose metadata match; as in `Index.search`, not Haystack's filters.
        mode: "late", "bm25" or "hybrid".
        exact: find the true best by MaxSim; an `UnprovedWarning` where the index cannot prove that it did.
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
        """Opens the index."""
        self._opened()

    def _opened(self) -> Index:
        if self._index is None:
            self._index = passages.open_index(self._path)
        return self._index

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline file; the index by its folder."""
        return default_to_dict(
            self, index=str(self._path), top_k=self.top_k, where=self.where, mode=self.mode, exact=self.exact
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SerotineRetriever":
        """From a pipeline file."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, where: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The best documents for a question; `where` and `top_k` stand in for those given before."""
        hits = passages.search(
            self._opened(),
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
        """`run`, in a thread."""
        return await asyncio.to_thread(self.run, query, where, top_k)


@component
class SerotineRanker:
    """Orders documents by their MaxSim with the question, which becomes their score.

    Args:
        encoder: the name of an encoder for `serotine.Encoder`, loaded when first needed (or by `warm_up`); its default
            unless given; or an encoder.
        top_k: how many documents to keep; all unless given.
        encoder_options: what `serotine.Encoder` is given beside the name.
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
        """Loads the encoder."""
        self._loaded()

    def _loaded(self) -> TextEncoder:
        if self._encoder is None:
            self._encoder = passages.load_encoder(self._name, self._options)
        return self._encoder

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline file; the encoder by its name and options."""
        return default_to_dict(self, encoder=self._name, top_k=self.top_k, encoder_options=self._options)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SerotineRanker":
        """From a pipeline file."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """The documents, best first; copies, so that those given stay as they are. Without content one comes last."""
        texts = [document.content or "" for document in documents]
        ranked = passages.rerank(self._loaded(), query, texts, self.top_k if top_k is None else top_k)
        return {"documents": [replace(documents[place], score=score) for place, score in ranked]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """`run`, in a thread."""
        return await asyncio.to_thread(self.run, query, documents, top_k)


def _document(hit: Hit) -> Document:
    return Document(id=hit.id, content=hit.text, meta=hit.metadata, score=hit.score)
