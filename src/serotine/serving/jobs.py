"""Uploads being indexed: what each has come to, in files that every worker process can read."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import uuid
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from serotine.errors import SerotineError
from serotine.index import Index
from serotine.ingest import SourceFile, update
from serotine.serving.failures import Failure
from serotine.serving.indexes import ServedIndex
from serotine.serving.metrics import Metrics

_log = logging.getLogger("serotine.serving")
State = Literal["queued", "running", "done", "failed"]
# The writer's lock is let go of after so many, so that other processes get their turn.
_FILES_A_TURN = 32
_KNOWN_ID = 32


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that gave no documents.

    Attributes:
        file: its name, as uploaded.
        reason: what was wrong with it.
    """

    file: str
    reason: str


@dataclass(slots=True)
class Job:
    """One upload.

    Attributes:
        id: 32 hexadecimal digits.
        index: where its documents go.
        state: how far it is.
        done: files that were dealt with.
        total: files.
        added: documents that are committed.
        skipped: files that were left out.
        error: why it failed.
    """

    id: str
    index: str
    state: State
    total: int
    done: int = 0
    added: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    error: str | None = None


class Jobs:
    """The jobs of one server.

    Args:
        folder: shared by the server's processes.
        metrics: told of every document added.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._records = folder / "jobs"
        self._uploads = folder / "uploads"
        for each in (self._records, self._uploads):
            each.mkdir(parents=True, exist_ok=True)
        self._metrics = metrics
        self._stopping = threading.Event()

    def new_upload(self) -> Path:
        """An empty folder for the files of one upload; its name is the job's id."""
        folder = self._uploads / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def start(self, served: ServedIndex, folder: Path, files: list[str]) -> Job:
        """Queues an upload behind the other changes of its index.

        Args:
            served: where the documents go.
            folder: what `new_upload` gave, with the files in it.
            files: their paths in it.

        Raises:
            Failure: 429 where too many changes wait.
        """
        job = Job(folder.name, served.name, "queued", len(files))
        self._write(job)
        try:
            served.changes.submit(lambda: self._run(job, served, folder, files))
        except Failure:
            self.drop(folder)
            raise
        return job

    def drop(self, folder: Path) -> None:
        """Forgets an upload that is not to be indexed."""
        shutil.rmtree(folder, ignore_errors=True)
        (self._records / f"{folder.name}.json").unlink(missing_ok=True)

    def get(self, id_: str) -> Job:
        """A job's newest state, whichever process runs it.

        Raises:
            Failure: 404 where there is none of that id.
        """
        if len(id_) == _KNOWN_ID and all(character in "0123456789abcdef" for character in id_):
            try:
                stored = json.loads((self._records / f"{id_}.json").read_bytes())
            except FileNotFoundError:
                pass
            else:
                return Job(**{**stored, "skipped": [Skipped(**each) for each in stored["skipped"]]})
        raise Failure(404, "unknown_job", f"{id_!r}: no such job; jobs are forgotten when the server stops")

    def stop(self) -> None:
        """Lets jobs end after the documents they are committing."""
        self._stopping.set()

    def _run(self, job: Job, served: ServedIndex, folder: Path, files: list[str]) -> None:
        job.state = "running"
        self._write(job)
        try:
            for start in range(0, len(files), _FILES_A_TURN):
                part = files[start : start + _FILES_A_TURN]
                served.change(partial(self._update, job, folder, part))
                job.done += len(part)
                self._write(job)
            job.state = "done"
        except (SerotineError, Failure, OSError) as error:
            job.state, job.error = "failed", str(error)
        except Exception as error:
            _log.exception("fault", exc_info=error)
            job.state, job.error = "failed", "the server failed; its log says why"
        finally:
            # Before it is told that the job has ended.
            shutil.rmtree(folder, ignore_errors=True)
            self._write(job)

    def _update(self, job: Job, folder: Path, names: list[str], index: Index) -> None:
        """Takes some files into the index; what it holds of an older file of the same name is replaced."""
        before = job.added

        def told(added: int, _all: int) -> None:
            self._metrics.added.labels(job.index).inc(before + added - job.added)
            job.added = before + added
            self._write(job)
            if self._stopping.is_set():
                raise SerotineError("the server was stopped; upload the files again to go on")

        # Replaced wherever it came from: uploading a document again is how it is brought up to date.
        sources = [SourceFile.named(folder / name, name) for name in names]
        report = update(index, sources, upsert=True, on_progress=told)
        job.skipped += [Skipped(each.file, each.reason) for each in report.skipped]

    def _write(self, job: Job) -> None:
        # Renamed into place: another process may be reading it.
        temporary = self._records / f"{job.id}.{os.getpid()}.tmp"
        temporary.write_text(json.dumps(asdict(job)), encoding="utf-8")
        temporary.replace(self._records / f"{job.id}.json")
