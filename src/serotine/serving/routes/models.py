"""The encoders themselves: reranking, and token vectors of texts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from serotine import maxsim
from serotine.serving.answers import as_json
from serotine.serving.auth import MayRead
from serotine.serving.batching import BatchingEncoder
from serotine.serving.schemas.models import (
    MultiVectorAnswer,
    MultiVectorRequest,
    PoolingAnswer,
    PoolingRequest,
    RerankAnswer,
    RerankRequest,
    TextObject,
)
from serotine.serving.services import Services
from serotine.wire import pack

router = APIRouter(tags=["models"], dependencies=[MayRead])


@router.post("/v1/rerank", response_model=RerankAnswer)
async def rerank(request: Request, body: RerankRequest) -> Response:
    """Puts documents in the order of their MaxSim with a question."""
    services = Services.of(request)
    texts = [_text(each) for each in body.documents]

    def work() -> dict[str, Any]:
        limits = services.settings.limits
        limits.check("documents", len(texts), limits.batch)
        if not body.query.strip():
            raise ValueError("query: is empty; ask something")
        encoder = services.indexes.encoder(body.model)
        (query,) = encoder.encode_queries([body.query])
        documents = _encoded(encoder, texts, query=False)
        worded = [i for i, vectors in enumerate(documents) if len(vectors)]
        scores = np.zeros(len(texts), dtype=np.float32)
        if worded and len(query):
            scores[worded] = maxsim.score(query, [documents[i] for i in worded]) / len(query)
        order = np.argsort(-scores, kind="stable")[: body.top_n]
        tokens = len(query) + sum(map(len, documents))
        return {
            "model": encoder.name,
            "results": [
                {
                    "index": i,
                    "relevance_score": float(scores[i]),
                    "document": {"text": texts[i]} if body.return_documents else None,
                }
                for i in order.tolist()
            ],
            "usage": _usage(tokens),
        }

    return as_json(await services.searches.run(work))


@router.post("/v1/multi-vector", response_model=MultiVectorAnswer)
async def multi_vector(request: Request, body: MultiVectorRequest) -> Response:
    """Token vectors of texts, as Jina's API gives them."""
    services = Services.of(request)
    texts = [_text(each) for each in body.input]

    def work() -> dict[str, Any]:
        encoder, encoded = _encode(services, body.model, texts, query=body.input_type == "query")
        packed = body.embedding_type == "base64"
        return {
            "model": encoder.name,
            "object": "list",
            "usage": _usage(sum(map(len, encoded))),
            "data": [
                {
                    "object": "embeddings",
                    "index": i,
                    "embeddings": _written(vectors, packed=packed),
                    "shape": vectors.shape,
                }
                for i, vectors in enumerate(encoded)
            ],
        }

    return as_json(await services.searches.run(work))


@router.post("/pooling", response_model=PoolingAnswer)
async def pooling(request: Request, body: PoolingRequest) -> Response:
    """Token vectors of texts, as vLLM's server gives them."""
    services = Services.of(request)
    texts = [body.input] if isinstance(body.input, str) else body.input

    def work() -> dict[str, Any]:
        encoder, encoded = _encode(services, body.model, texts, query=body.input_type == "query")
        packed = body.encoding_format == "base64"
        return {
            "id": f"pool-{uuid.uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": encoder.name,
            "data": [
                {"index": i, "object": "pooling", "data": _written(vectors, packed=packed), "shape": vectors.shape}
                for i, vectors in enumerate(encoded)
            ],
            "usage": _usage(sum(map(len, encoded))),
        }

    return as_json(await services.searches.run(work))


def _encode(
    services: Services, model: str | None, texts: list[str], *, query: bool
) -> tuple[BatchingEncoder, list[NDArray[np.float32]]]:
    limits = services.settings.limits
    limits.check("input", len(texts), limits.batch)
    encoder = services.indexes.encoder(model)
    return encoder, _encoded(encoder, texts, query=query)


def _encoded(encoder: BatchingEncoder, texts: Sequence[str], *, query: bool) -> list[NDArray[np.float32]]:
    """Token vectors of every text; none of a text without words, as an index has it."""
    worded = [text for text in texts if text.strip()]
    made = iter((encoder.encode_queries if query else encoder.encode_documents)(worded) if worded else [])
    nothing = np.empty((0, encoder.dim), dtype=np.float32)
    return [next(made) if text.strip() else nothing for text in texts]


def _written(vectors: NDArray[np.float32], *, packed: bool) -> list[list[float]] | str:
    return pack(vectors.astype(np.float16)) if packed else vectors.tolist()


def _text(value: str | TextObject) -> str:
    return value if isinstance(value, str) else value.text


def _usage(tokens: int) -> dict[str, int]:
    return {"total_tokens": tokens, "prompt_tokens": tokens}
