"""Serotine for LangChain: a retriever over an index, and a document compressor that reranks by MaxSim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serotine.errors import missing_extra
from serotine.index import Hit, Index, Mode
from serotine.integrations import passages

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import run_in_executor
    from pydantic import Field, field_validator
except ImportError as error:
    raise ImportError(missing_extra("serotine.integrations.langchain", "langchain")) from error

_SCORE = "relevance_score"


class SerotineRetriever(BaseRetriever):
    """The best passages of an index as LangChain documents.

    A document's `id` is the passage's, its `page_content` the text that was indexed ("" where only vectors were), its
    metadata the passage's with the score as "relevance_score". `k`, `where`, `mode` and `exact` are those of
    `Index.search`. `invoke` takes all options of `Index.search` for one query: ``retriever.invoke(query, k=3)``.

    Attributes:
        index: an open index, or its folder, which is opened for reading.
        k: how many documents.
        where: only documents whose metadata match.
        mode: "late", "bm25" or "hybrid".
        exact: find the true best by MaxSim; warns with `UnprovedWarning` where the index cannot prove the result.
    """

    index: Index
    k: int = Field(default=10, ge=1)
    where: dict[str, Any] | None = None
    mode: Mode = "late"
    exact: bool = False

    @field_validator("index", mode="before")
    @classmethod
    def _open(cls, index: Any) -> Index:
        return passages.open_index(index)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun | None, **options: Any
    ) -> list[Document]:
        options = {"k": self.k, "where": self.where, "mode": self.mode, "exact": self.exact, **options}
        return [_document(hit) for hit in passages.search(self.index, query, **options)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return await run_in_executor(None, self._get_relevant_documents, query, run_manager=None, **options)


class SerotineReranker(BaseDocumentCompressor):
    """A document compressor that sorts by MaxSim with the query, which it stores as "relevance_score" in the metadata.

    Attributes:
        encoder: an encoder, or a name for `serotine.Encoder`; its default unless given.
        top_n: how many documents to return; all unless given.
    """

    encoder: Any = Field(default=None, validate_default=True)
    top_n: int | None = Field(default=None, ge=1)

    @field_validator("encoder", mode="before")
    @classmethod
    def _load(cls, encoder: Any) -> Any:
        return passages.load_encoder(encoder)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the documents, best first."""
        ranked = passages.rerank(self.encoder, query, [document.page_content for document in documents], self.top_n)
        return [
            documents[position].model_copy(update={"metadata": {**documents[position].metadata, _SCORE: score}})
            for position, score in ranked
        ]


def _document(hit: Hit) -> Document:
    return Document(id=hit.id, page_content=hit.text or "", metadata={**hit.metadata, _SCORE: hit.score})
