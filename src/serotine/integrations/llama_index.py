"""Serotine for LlamaIndex: a retriever over an index, and a node postprocessor that reranks by MaxSim."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serotine.errors import missing_extra
from serotine.index import Hit, Index, Mode
from serotine.integrations import passages

try:
    from llama_index.core.bridge.pydantic import Field, field_validator
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import (
        MetadataMode,
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ImportError as error:
    raise ImportError(missing_extra("serotine.integrations.llama_index", "llama-index")) from error


class SerotineRetriever(BaseRetriever):
    """The best passages of an index as LlamaIndex nodes, with MaxSim (or the mode's score) as their score.

    Args:
        index: an open index, or its folder, which is opened for reading.
        similarity_top_k: how many nodes.
        where: only passages whose metadata match; as in `Index.search`.
        mode: "late", "bm25" or "hybrid".
        exact: find the true best by MaxSim; warns with `UnprovedWarning` where the index cannot prove the result.
        callback_manager: LlamaIndex's.
    """

    def __init__(
        self,
        index: Index | str | Path,
        *,
        similarity_top_k: int = 10,
        where: Mapping[str, Any] | None = None,
        mode: Mode = "late",
        exact: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self._index = passages.open_index(index)
        self._k = similarity_top_k
        self._where = where
        self._mode: Mode = mode
        self._exact = exact

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = passages.search(
            self._index, query_bundle.query_str, k=self._k, where=self._where, mode=self._mode, exact=self._exact
        )
        return [NodeWithScore(node=_node(hit), score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class SerotineReranker(BaseNodePostprocessor):
    """A node postprocessor that sorts by MaxSim with the query; it reads the text that LlamaIndex would embed.

    Attributes:
        encoder: an encoder, or a name for `serotine.Encoder`; its default unless given.
        top_n: how many nodes to return; all unless given.
    """

    encoder: Any = Field(default=None, validate_default=True, exclude=True)
    top_n: int | None = Field(default=None, ge=1)

    @field_validator("encoder", mode="before")
    @classmethod
    def _load(cls, encoder: Any) -> Any:
        return passages.load_encoder(encoder)

    @classmethod
    def class_name(cls) -> str:
        """Return LlamaIndex's name of the class."""
        return "SerotineReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("query_bundle: must be the query, got None; pass query_bundle= or query_str=")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        ranked = passages.rerank(self.encoder, query_bundle.query_str, texts, self.top_n)
        return [NodeWithScore(node=nodes[position].node, score=score) for position, score in ranked]


def _node(hit: Hit) -> TextNode:
    # LlamaIndex drops a node whose text, metadata and source equal another's. The source keeps passages with the same
    # text, or without one, distinct.
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=hit.id)}
    return TextNode(id_=hit.id, text=hit.text or "", metadata=hit.metadata, relationships=source)
