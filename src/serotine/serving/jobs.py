"""Uploads being indexed: their progress, in files that every worker process can read."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from serotine.coverage import CoverageReport, unknown_fix
from serotine.errors import (
    SerotineError,
    SerotineWarning,
    ServerError,
    TruncatedTextWarning,
    UnknownTextWarning,
    reason,
)
from serotine.files import write_atomically
from serotine.index import Index
from serotine.ingest import MAX_NAMED, IngestReport, SourceFile, update
from serotine.issued_warnings import collected_warnings
from serotine.serving.indexes import ServedIndex
from serotine.serving.metrics import Metrics
from serotine.serving.server_paths import UPLOADS, ServerPaths
from serotine.serving.settings import ServerSettings

_log = logging.getLogger("serotine.serving")
State = Literal["queued", "running", "done", "failed"]
# Files indexed before the writer lock is released, so that other processes get their turn.
_FILES_PER_CHANGE = 32
_ID_LENGTH = 32
_FAULT = "internal error; the server's log has the details"


@dataclass(frozen=True, slots=True)
class JobWarning:
    """What to know about documents that were added.

    Attributes:
        kind: the class of the library's warning, such as "TruncatedTextWarning".
        message: one line for people.
    """

    kind: str
    message: str


@dataclass(slots=True)
class Job:
    """One upload.

    Attributes:
        id: 32 hexadecimal digits.
        index: name of the index its documents go to.
        state: "queued", "running", "done" or "failed".
        total: files.
        done: files processed.
        added: documents committed.
        error: why it failed.
        warnings: what the library warns about: one of each kind for texts, and the first ten others.
        report: what became of the files that are processed.
    """

    id: str
    index: str
    state: State
    total: int
    done: int = 0
    added: int = 0
    error: str | None = None
    warnings: list[JobWarning] = field(default_factory=list)
    report: IngestReport = field(default_factory=lambda: IngestReport.total([]))

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values, with the report's as ``serotine index --json`` has them."""
        return {
            "id": self.id,
            "index": self.index,
            "state": self.state,
            "total": self.total,
            "done": self.done,
            "error": self.error,
            "warnings": [asdict(warning) for warning in self.warnings],
            **self.report.to_json(),
            "added": self.added,
        }


class Jobs:
    """The jobs of one server.

    Args:
        settings: the folder that its processes share, and the limits of what is read of a file.
        metrics: counts every document added.
        paths: what the records say instead of the server's folders.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics, paths: ServerPaths) -> None:
        self._limits = settings.reading
        self._paths = paths
        self._records = settings.state / "jobs"
        self._uploads = settings.state / UPLOADS
        for subfolder in (self._records, self._uploads):
            subfolder.mkdir(parents=True, exist_ok=True)
        self._metrics = metrics
        self._stopping = threading.Event()

    def new_upload(self) -> Path:
        """Create an empty folder for the files of one upload; its name is the job's id."""
        folder = self._uploads / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def start(self, served: ServedIndex, folder: Path, files: list[str]) -> Job:
        """Queue an upload behind the other changes of its index.

        Args:
            served: where the documents go.
            folder: the folder that `new_upload` returned, with the files in it.
            files: paths in the folder.

        Raises:
            ServerError: 429 where too many changes wait.
        """
        job = Job(folder.name, served.name, "queued", len(files))
        self._write(job)
        try:
            served.changes.submit(lambda: self._run(job, served, folder, files))
        except ServerError:
            self.discard(folder)
            raise
        return job

    def discard(self, folder: Path) -> None:
        """Delete an upload that will not be indexed."""
        shutil.rmtree(folder, ignore_errors=True)
        (self._records / f"{folder.name}.json").unlink(missing_ok=True)

    def get(self, id_: str) -> dict[str, Any]:
        """Return a job's newest state as JSON values, whichever process runs it.

        Raises:
            ServerError: 404 where no job has that id.
        """
        if len(id_) == _ID_LENGTH and all(character in "0123456789abcdef" for character in id_):
            try:
                stored: dict[str, Any] = json.loads((self._records / f"{id_}.json").read_bytes())
            except FileNotFoundError:
                pass
            else:
                return stored
        raise ServerError(
            f"job: unknown {id_!r}; jobs are deleted when the server stops", status=404, code="unknown_job"
        )

    def stop(self) -> None:
        """Let jobs end after the documents that they are committing, or before the next text that they read."""
        self._stopping.set()

    def _run(self, job: Job, served: ServedIndex, folder: Path, files: list[str]) -> None:
        job.state = "running"
        self._write(job)
        texts = _TextWarnings()
        try:
            for start in range(0, len(files), _FILES_PER_CHANGE):
                names = files[start : start + _FILES_PER_CHANGE]
                served.change(partial(self._update, job, texts, folder, names))
                job.done += len(names)
                self._write(job)
            job.state = "done"
        except (SerotineError, OSError) as error:
            job.state, job.error = "failed", reason(error)
        except Exception as error:
            _log.exception("fault", exc_info=error)
            job.state, job.error = "failed", _FAULT
        finally:
            # Before the record says that the job has ended.
            shutil.rmtree(folder, ignore_errors=True)
            self._write(job)

    def _update(self, job: Job, texts: _TextWarnings, folder: Path, names: list[str], index: Index) -> None:
        """Index files; they replace the documents of uploaded files with the same names."""
        added_before = job.added

        def on_progress(added: int, _all: int) -> None:
            self._metrics.added.labels(job.index).inc(added_before + added - job.added)
            job.added = added_before + added
            self._write(job)
            check_running()

        def check_running() -> None:
            if self._stopping.is_set():
                raise SerotineError("the server was stopped; upload the files again to continue")

        sources = [SourceFile.named(folder / name, name) for name in names]
        with collected_warnings() as collected:
            report = update(
                index,
                sources,
                restore_deleted=True,
                limits=self._limits,
                on_progress=on_progress,
                on_step=check_running,
            )
        job.report = IngestReport.total([job.report, report])
        texts.add(collected)
        job.warnings = texts.warnings(job.report.coverage, index.stats().encoder or "")

    def _write(self, job: Job) -> None:
        # Atomically: another process may be reading it.
        write_atomically(self._records / f"{job.id}.json", json.dumps(self._paths.hidden(job.to_json())))


class _TextWarnings:
    """The warnings of one job: about its texts as a whole, where the library warns about every batch of them."""

    def __init__(self) -> None:
        self._others: dict[SerotineWarning, None] = {}

    def add(self, collected: Sequence[SerotineWarning]) -> None:
        """Add those of the job's next files."""
        for warning in collected:
            if not isinstance(warning, (TruncatedTextWarning, UnknownTextWarning)) and warning not in self._others:
                self._others[warning] = None
                # For the operator too: it may be about the disk.
                _log.warning(str(warning))

    def warnings(self, coverage: CoverageReport, encoder: str) -> list[JobWarning]:
        """Return all of them, with those about texts of this coverage by an encoder of this name."""
        warnings = []
        if coverage.truncated:
            message = coverage.truncated_message("documents", encoder, "the rest is not searched: shorten them")
            warnings.append(JobWarning(TruncatedTextWarning.__name__, message))
        if coverage.unknown:
            message = coverage.unknown_message("documents", encoder, unknown_fix(encoder))
            warnings.append(JobWarning(UnknownTextWarning.__name__, message))
        others = [JobWarning(**warning.to_dict()) for warning in self._others]
        return [*warnings, *others[:MAX_NAMED]]
