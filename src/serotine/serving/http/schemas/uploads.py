"""Uploads, and what became of their files: the report of ``serotine index --json`` with the state of the job."""

from __future__ import annotations

from pydantic import Field

from serotine.serving.http.schemas.base import ResponseBody, WarningDetail
from serotine.serving.jobs import State


class UploadResponse(ResponseBody):
    """An accepted upload; `GET /v1/jobs/{job}` reports its progress."""

    job: str


class SkippedFileDetail(ResponseBody):
    """A file that is not indexed."""

    file: str = Field(description="Its name, as uploaded.")
    reason: str = Field(description="What is wrong with it.")


class RowDetail(ResponseBody):
    """A row or line of a file."""

    file: str
    line: int = Field(description="Its first line, or its row where a file has no lines; from 1.")
    reason: str = Field(description="What is wrong with it.")
    collisions: int = Field(
        description="How many rows of the file have ids that are taken, this one the first of them; 0: another fault."
    )


class RowsDetail(ResponseBody):
    """Rows or lines of files that are indexed."""

    count: int
    files: int = Field(description="Of how many files.")
    first: list[RowDetail] = Field(description="The first ten, after one of every file with ids that are taken.")


class FileCounts(ResponseBody):
    """Number of files by what became of them."""

    added: int
    replaced: int
    unchanged: int
    removed: int


class IgnoredDetail(ResponseBody):
    """Files of folders that are not read by rule; none of an upload, whose files are all named."""

    suffixes: dict[str, int]
    folders: dict[str, int]
    generated: dict[str, int]
    hidden: int
    excluded: int
    too_large: int
    linked: int
    unfollowed: int
    unreadable: int
    beside_corpus: int
    first: list[str]
    examples: dict[str, list[str]]
    unmatched: dict[str, list[str]]


class JobResponse(ResponseBody):
    """One upload."""

    id: str = Field(description="32 hexadecimal digits.")
    index: str = Field(description="Name of the index its documents go to.")
    state: State
    total: int = Field(description="Files.")
    done: int = Field(description="Files processed; what follows, `added` excepted, is about these.")
    error: str | None = Field(description="Why it failed.")
    warnings: list[WarningDetail] = Field(
        description="What the library warns about: one of each kind for texts, and the first ten others."
    )
    added: int = Field(description="Documents committed.")
    replaced: int = Field(description="How many of these replaced another document with the same id.")
    unchanged: int = Field(description="Documents of new and changed files whose text the index already had.")
    changed_metadata: int = Field(description="How many of the unchanged documents got other metadata.")
    reused: int = Field(
        description="How many of the added documents were not encoded: the index had their text under another id."
    )
    removed: int = Field(description="Documents that their files do not contain any more.")
    files: FileCounts
    skipped: list[SkippedFileDetail] = Field(description="Files that are not indexed.")
    skipped_rows: RowsDetail = Field(description="Bad rows of the other files.")
    problems: RowsDetail = Field(description="Lines that may not be read as they were meant.")
    unread: dict[str, int] = Field(description="Images, attachments and the like that are not read, by kind.")
    ignored: IgnoredDetail
    deleted: dict[str, int] = Field(description="Documents that stay deleted, by file.")
    moved: dict[str, str] = Field(description="Paths of new files by those of files that are gone; none of an upload.")
    restored: dict[str, int] = Field(
        description="At most how many documents that were deleted from the index are stored again."
    )
    copied: dict[str, int] = Field(
        description="Documents that may be there twice, by a file elsewhere that is gone; none of an upload."
    )
    cut_records: int = Field(description="Records (JSON objects, rows) that were cut into passages.")
    truncated: int = Field(description="Documents longer than the encoder reads; their ends are not searched.")
    unknown: int = Field(description="Documents that are more than 20% outside the encoder's vocabulary.")
    unknown_scripts: dict[str, int] = Field(description="These by their main script, such as Thai.")
