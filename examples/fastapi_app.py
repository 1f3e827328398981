"""A web application of your own in front of a Serotine server; needs `pip install 'serotine[serve]'`.

$ serotine serve notes.serotine --port 8765
$ SEROTINE_URL=http://127.0.0.1:8765 SEROTINE_INDEX=notes uvicorn --app-dir examples fastapi_app:app
$ curl '127.0.0.1:8000/answers?query=which%20bat%20is%20late&k=1'

The server holds the encoder and the index. The application holds one `Client`, which threads share.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Query, Request

from serotine import Client
from serotine.errors import ServerError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect when the application starts, and close the connections when it ends."""
    with Client(
        os.environ["SEROTINE_URL"],
        os.environ["SEROTINE_INDEX"],
        token=os.environ.get("SEROTINE_TOKEN"),
        timeout=10,
    ) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/answers")
def answers(
    request: Request,
    query: str = Query(min_length=1, max_length=1000),
    k: int = Query(5, ge=1, le=50),
) -> list[dict[str, object]]:
    """Return the best passages for a query. FastAPI runs a plain `def` in a thread, so it may wait."""
    client: Client = request.app.state.client
    try:
        hits = client.search(query, k=k, min_score=0.5)
    except ServerError as error:
        raise HTTPException(503, "the search server is not available") from error
    return [
        {"id": hit.id, "text": hit.text, "score": hit.score_per_token, "words": hits.spans(number)}
        for number, hit in enumerate(hits)
    ]
