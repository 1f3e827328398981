"""Uploads: files that are indexed in the background, and their progress."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import Response

from serotine.serving.errors import not_for_shards, read_only
from serotine.serving.http.answer import json_response
from serotine.serving.http.auth import MayRead, MayWrite
from serotine.serving.http.dependencies import services_of
from serotine.serving.http.schemas.uploads import JobResponse, UploadResponse
from serotine.serving.served_shards import ServedShards
from serotine.texts import is_text

router = APIRouter(prefix="/v1", tags=["uploads"])
_MAX_NAME_BYTES = 200


@router.post("/indexes/{name}/files", dependencies=[MayWrite], status_code=202, response_model=UploadResponse)
async def upload_files(
    request: Request,
    name: str,
    files: Annotated[list[UploadFile], File(description="Files; the file name may be a relative path.")],
) -> Response:
    """Store files and index them in the background; existing documents of the same file are replaced."""
    services = services_of(request)
    served = await services.searches.run(lambda: services.index(name))
    if not served.writable:
        raise read_only()
    if isinstance(served, ServedShards):
        raise not_for_shards("files", name, "send their documents to /documents")
    if served.encoder is None:
        raise ValueError("files: this index has no encoder; send vectors to /documents")
    paths = [_relative_path(upload.filename or "") for upload in files]
    duplicate = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if duplicate is not None:
        raise ValueError(f"files: duplicate name {duplicate!r}; names must be unique")
    folder = services.jobs.new_upload()

    def store() -> None:
        for upload, path in zip(files, paths, strict=True):
            target = folder / path
            if not target.is_relative_to(folder):
                # A name that begins with a drive, on systems that have drives.
                raise _invalid_name(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(upload.file, file)

    try:
        await services.searches.run(store, seconds=services.settings.limits.write_seconds)
    except (FileExistsError, NotADirectoryError):
        services.jobs.discard(folder)
        raise ValueError("files: the same name is both a file and a folder; rename one") from None
    except BaseException:
        services.jobs.discard(folder)
        raise
    return json_response({"job": services.jobs.start(served, folder, paths).id}, 202)


@router.get("/jobs/{id}", dependencies=[MayRead], response_model=JobResponse, tags=["uploads"])
async def job(request: Request, id: str) -> Response:  # noqa: A002 - the name in the path
    """Return the progress of an upload."""
    return json_response(services_of(request).jobs.get(id))


def _relative_path(name: str) -> str:
    """Return a file's name as a relative path that stays inside its folder.

    Raises:
        ValueError: the path would leave the folder, or is not a valid file name.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    invalid = (
        not parts
        # The root may also be "//", which POSIX distinguishes from "/".
        or path.is_absolute()
        or not is_text(name)
        or not name.isprintable()
        or any(part == ".." or part.endswith(":") or len(part.encode()) > _MAX_NAME_BYTES for part in parts)
        or sum(len(part.encode()) + 1 for part in parts) > 4 * _MAX_NAME_BYTES
    )
    if invalid:
        raise _invalid_name(name)
    return Path(*parts).as_posix()


def _invalid_name(name: str) -> ValueError:
    return ValueError(f"files: must have relative paths as names, got {name[:80]!r}; rename the file")
