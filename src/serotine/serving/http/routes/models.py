"""Encoders: reranking, and token vectors of texts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from serotine import maxsim
from serotine.coverage import warn_about_texts
from serotine.issued_warnings import collected_warnings, muted_warnings
from serotine.serving.batching import BatchingEncoder
from serotine.serving.http.answer import Answer, join_object, json_response
from serotine.serving.http.auth import MayRead
from serotine.serving.http.dependencies import services_of
from serotine.serving.http.responses import warning_list
from serotine.serving.http.schemas.models import (
    MultiVectorRequest,
    MultiVectorResponse,
    PoolingRequest,
    PoolingResponse,
    RerankRequest,
    RerankResponse,
    TextObject,
)
from serotine.serving.server_paths import ServerPaths
from serotine.serving.services import Services
from serotine.texts import has_visible
from serotine.wire import pack

router = APIRouter(tags=["models"], dependencies=[MayRead])


@router.post("/v1/rerank", response_model=RerankResponse)
async def rerank(request: Request, body: RerankRequest) -> Response:
    """Rank documents by their MaxSim with a query."""
    services = services_of(request)
    texts = [_text(document) for document in body.documents]

    def work() -> bytes:
        limits = services.settings.limits
        limits.check("documents", len(texts), limits.batch)
        if not has_visible(body.query):
            raise ValueError("query: must not be empty")
        encoder = services.indexes.encoder(body.model)
        (query,) = _encoded(encoder, [body.query], query=True)
        documents = _encoded(encoder, texts, query=False)
        nonempty = [i for i, vectors in enumerate(documents) if len(vectors)]
        scores = np.zeros(len(texts), dtype=np.float32)
        if nonempty and len(query):
            scores[nonempty] = maxsim.score(query, [documents[i] for i in nonempty]) / len(query)
        order = np.argsort(-scores, kind="stable")[: body.top_n]
        tokens = len(query) + sum(map(len, documents))
        answer = Answer(limits.answer, "ask for fewer results with 'top_n', or omit 'return_documents'")
        fields = {
            "model": services.paths.hidden(encoder.name),
            "results": answer.parts(
                {
                    "index": i,
                    "relevance_score": float(scores[i]),
                    "document": {"text": texts[i]} if body.return_documents else None,
                }
                for i in order.tolist()
            ),
            "usage": _usage(tokens),
            "warnings": [
                *_warnings(services.paths, encoder, [body.query], query=True),
                *_warnings(services.paths, encoder, texts, query=False),
            ],
        }
        return join_object(fields)

    return json_response(await services.searches.run(work))


@router.post("/v1/multi-vector", response_model=MultiVectorResponse)
async def multi_vector(request: Request, body: MultiVectorRequest) -> Response:
    """Return token vectors of texts in the format of Jina's API."""
    services = services_of(request)
    texts = [_text(text) for text in body.input]

    def work() -> bytes:
        encoder, encoded = _encode(services, body.model, texts, query=body.input_type == "query")
        packed = body.embedding_type == "base64"
        fields = {
            "model": services.paths.hidden(encoder.name),
            "object": "list",
            "usage": _usage(sum(map(len, encoded))),
            "data": _answer(services, texts).parts(
                {
                    "object": "embeddings",
                    "index": i,
                    "embeddings": _embedding(vectors, packed=packed),
                    "shape": vectors.shape,
                }
                for i, vectors in enumerate(encoded)
            ),
            "warnings": _warnings(services.paths, encoder, texts, query=body.input_type == "query"),
        }
        return join_object(fields)

    return json_response(await services.searches.run(work))


@router.post("/pooling", response_model=PoolingResponse)
async def pooling(request: Request, body: PoolingRequest) -> Response:
    """Return token vectors of texts in the format of vLLM's server."""
    services = services_of(request)
    texts = [body.input] if isinstance(body.input, str) else body.input

    def work() -> bytes:
        encoder, encoded = _encode(services, body.model, texts, query=body.input_type == "query")
        packed = body.encoding_format == "base64"
        fields = {
            "id": f"pool-{uuid.uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": services.paths.hidden(encoder.name),
            "data": _answer(services, texts).parts(
                {"index": i, "object": "pooling", "data": _embedding(vectors, packed=packed), "shape": vectors.shape}
                for i, vectors in enumerate(encoded)
            ),
            "usage": _usage(sum(map(len, encoded))),
            "warnings": _warnings(services.paths, encoder, texts, query=body.input_type == "query"),
        }
        return join_object(fields)

    return json_response(await services.searches.run(work))


def _answer(services: Services, texts: Sequence[str]) -> Answer:
    return Answer(services.settings.limits.answer, "send fewer texts at once" if len(texts) > 1 else "")


def _encode(
    services: Services, model: str | None, texts: list[str], *, query: bool
) -> tuple[BatchingEncoder, list[NDArray[np.float32]]]:
    limits = services.settings.limits
    limits.check("input", len(texts), limits.batch)
    encoder = services.indexes.encoder(model)
    return encoder, _encoded(encoder, texts, query=query)


def _encoded(encoder: BatchingEncoder, texts: Sequence[str], *, query: bool) -> list[NDArray[np.float32]]:
    """Return token vectors of every text; none for an empty text, as in an index."""
    nonempty = [text for text in texts if has_visible(text)]
    # The answer has the warnings.
    with muted_warnings():
        vectors = iter((encoder.encode_queries if query else encoder.encode_documents)(nonempty) if nonempty else [])
    no_vectors = np.empty((0, encoder.dim), dtype=np.float32)
    return [next(vectors) if has_visible(text) else no_vectors for text in texts]


def _warnings(
    paths: ServerPaths, encoder: BatchingEncoder, texts: Sequence[str], *, query: bool
) -> list[dict[str, str]]:
    """Return what the library warns about: texts that are too long, or outside the encoder's vocabulary."""
    with collected_warnings() as collected:
        warn_about_texts(encoder, texts, query=query)
    return warning_list(collected, paths)


def _embedding(vectors: NDArray[np.float32], *, packed: bool) -> list[list[float]] | str:
    return pack(vectors.astype(np.float16)) if packed else vectors.tolist()


def _text(value: str | TextObject) -> str:
    return value if isinstance(value, str) else value.text


def _usage(tokens: int) -> dict[str, int]:
    return {"total_tokens": tokens, "prompt_tokens": tokens}
