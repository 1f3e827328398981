"""Uploads: files that are indexed in the background, and how far that is."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import Response

from serotine.serving.answers import as_json
from serotine.serving.auth import MayRead, MayWrite
from serotine.serving.failures import read_only
from serotine.serving.schemas.indexes import JobBody, JobStarted
from serotine.serving.services import Services
from serotine.texts import is_text

router = APIRouter(prefix="/v1", tags=["uploads"])
_LONGEST_PART = 200


@router.post("/indexes/{name}/files", dependencies=[MayWrite], status_code=202, response_model=JobStarted)
async def upload_files(
    request: Request,
    name: str,
    files: Annotated[list[UploadFile], File(description="Files; a relative path in a file's name is kept.")],
) -> Response:
    """Takes files and indexes them in the background; a document that is there already is replaced."""
    services = Services.of(request)
    served = await services.searches.run(lambda: services.index(name))
    if not served.writable:
        raise read_only()
    if served.encoder is None:
        raise ValueError("files: this index has no encoder for texts; send vectors to /documents")
    paths = [_safe(upload.filename or "") for upload in files]
    twice = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if twice is not None:
        raise ValueError(f"files: {twice!r} stands twice; give every file its own name")
    folder = services.jobs.new_upload()

    def keep() -> None:
        for upload, path in zip(files, paths, strict=True):
            target = folder / path
            if not target.is_relative_to(folder):
                # A name that begins with a drive, on systems that have them.
                raise _unsafe(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(upload.file, file)

    try:
        await services.searches.run(keep, seconds=services.settings.limits.write_seconds)
    except (FileExistsError, NotADirectoryError):
        services.jobs.drop(folder)
        raise ValueError("files: one name is a file and a folder; give every file its own name") from None
    except BaseException:
        services.jobs.drop(folder)
        raise
    return as_json({"job": services.jobs.start(served, folder, paths).id}, 202)


@router.get("/jobs/{id}", dependencies=[MayRead], response_model=JobBody, tags=["uploads"])
async def job(request: Request, id: str) -> Response:  # noqa: A002 - the name in the path
    """How far an upload is."""
    return as_json(asdict(Services.of(request).jobs.get(id)))


def _safe(name: str) -> str:
    """A relative path that stays inside the folder it is put in.

    Raises:
        ValueError: it would not, or is no name a file can have.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    wrong = (
        not parts
        # The root may be "//" too, which POSIX tells from "/".
        or path.is_absolute()
        or not is_text(name)
        or not name.isprintable()
        or any(part == ".." or part.endswith(":") or len(part.encode()) > _LONGEST_PART for part in parts)
        or sum(len(part.encode()) + 1 for part in parts) > 4 * _LONGEST_PART
    )
    if wrong:
        raise _unsafe(name)
    return Path(*parts).as_posix()


def _unsafe(name: str) -> ValueError:
    return ValueError(f"files: {name[:80]!r} is no relative path that can be kept; rename the file")
