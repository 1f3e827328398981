"""The page at /, and the API reference at /docs: files from disk, nothing from the network."""

from __future__ import annotations

import os
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from serotine.serving.page import HEADERS, STATIC

_DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Serotine: the HTTP API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<p style="margin: 1rem 1.25rem 0; font-family: sans-serif"><a href="/">&larr; Search page</a></p>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, tryItOutEnabled: true
});
"""
# Swagger UI sets styles from scripts, which the other pages' policy forbids.
_DOCS_POLICY = {"Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> Response:
    """Return the interactive API reference."""
    return HTMLResponse(_DOCS, headers=_DOCS_POLICY)


@router.get("/docs/start.js")
async def docs_start() -> Response:
    """Return the script that starts Swagger UI; the policy forbids inline scripts."""
    return Response(_START, media_type="text/javascript")


class _PageFiles(StaticFiles):
    """The page's files with their headers."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return a file with the page's headers."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


def mount_pages(app: FastAPI) -> None:
    """Add /docs and the page."""
    app.include_router(router)
    app.mount("/docs", StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs")
    app.mount("/static", _PageFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """Return the page."""
        return FileResponse(STATIC / "index.html", headers=HEADERS)
