"""A snapshot repository: any number of snapshots at one URL, which share the parts of files that they have in common.

```
snapshots/<name>    a manifest, written last: it names the files of one committed state, and their parts
parts/<checksum>    up to 8 MiB of a file
operations/<name>   markers of snapshots and prunings under way
```
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serotine.errors import IndexDamagedError, RepositoryError, invalid, wrong_type
from serotine.index.files import SEGMENT_FOLDER, FileRecord, damage, durable
from serotine.index.repository.filesystem import FilesystemObjects
from serotine.index.repository.manifest import Manifest, StoredFile, parse_manifest
from serotine.index.repository.objects import LocalObjects, MissingObjectError, Objects, is_url, local_folder
from serotine.index.repository.operations import operation
from serotine.index.repository.transfer import PARTS, Download, Upload
from serotine.index.store import CATALOG_FILE, CommittedState, CopyReport, Store, checked_path
from serotine.progress import progress_bar
from serotine.wording import local_fix

_SNAPSHOTS = "snapshots"
_SHOWN = 5
# To the microsecond: names sort by time, and two processes may write in the same second.
_NAME = "%Y%m%d-%H%M%S-%f"
# Objects removed in one request, between two renewals of the marker.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One snapshot of a repository.

    Attributes:
        name: for `Index.restore`; names sort by time.
        created: date and time in UTC, ISO 8601; "" where the manifest is damaged.
        documents: number of live documents.
        bytes: size of the restored index.
        damaged: what is wrong with the manifest, or "".
    """

    name: str
    created: str
    documents: int
    bytes: int
    damaged: str = ""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """Report of `Index.prune_snapshots`.

    Attributes:
        snapshots: names of the snapshots removed.
        objects: number of objects removed, which no snapshot needs.
        bytes: size of these objects.
    """

    snapshots: tuple[str, ...]
    objects: int
    bytes: int


def _linked(record: FileRecord, path: Path, reuse: Sequence[Path]) -> bool:
    """Link an intact file of another index to `path`; return whether one has it."""
    for folder in reuse:
        other = folder / SEGMENT_FOLDER / record.name
        if other.is_file() and not damage(other, record):
            durable.remove(path)
            try:
                path.hardlink_to(other)
            except OSError:
                # Another file system, or one without links.
                return False
            return True
    return False


def repository_at(place: str | Path, storage_options: Mapping[str, Any] | None = None) -> SnapshotRepository | None:
    """Return the repository at a URL, or in a local folder that is one already; None where a path is of neither.

    Args:
        place: a URL or a path.
        storage_options: for the file system, as fsspec takes them.

    Raises:
        RepositoryError: the library for this URL is missing.
    """
    objects = objects_at(place, storage_options)
    folder = local_folder(os.fspath(place))
    is_there = (
        folder is None or is_url(os.fspath(place)) or any((folder / name).is_dir() for name in (_SNAPSHOTS, PARTS))
    )
    return SnapshotRepository(objects) if is_there else None


def objects_at(place: str | Path, storage_options: Mapping[str, Any] | None = None) -> Objects:
    """Return the objects at a URL, or in a local folder.

    Raises:
        RepositoryError: the library for this URL is missing.
    """
    checked_path(place)
    place = os.fspath(place)
    folder = local_folder(place)
    return FilesystemObjects(place, storage_options or {}) if folder is None else LocalObjects(folder)


class SnapshotRepository:
    """The snapshots at one place."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def url(self) -> str:
        """The place, for messages."""
        return self._objects.url

    def snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots, oldest first."""
        return [
            SnapshotInfo(name, "", 0, 0, str(manifest))
            if isinstance(manifest, IndexDamagedError)
            else SnapshotInfo(name, manifest.created, manifest.documents, manifest.total_bytes)
            for name, manifest in self._manifests().items()
        ]

    def write(self, store: Store, *, show_progress: bool) -> CopyReport:
        """Send the newest committed state of an index; return its report when the snapshot is complete.

        Raises:
            RepositoryError: the place cannot be written, or is being pruned; there is no snapshot then.
            IndexDamagedError: a file is missing or damaged.
        """
        with (
            TemporaryDirectory(prefix="serotine-") as folder,
            store.committed_state(Path(folder)) as state,
            operation(self._objects, "snapshot") as running,
        ):
            known = {
                file.checksum: file
                for manifest in self._manifests().values()
                if isinstance(manifest, Manifest)
                for file in manifest.files
            }
            catalog = FileRecord(CATALOG_FILE, state.catalog.stat().st_size, "")
            with progress_bar(0, "Sending", enabled=show_progress, unit="bytes") as bar:
                upload = Upload(self._objects, bar, running.renew)
                unchanged = {key: file for key, file in known.items() if upload.has(file)}
                bar.reach(0, catalog.bytes + sum(r.bytes for _, r in state.files if r.checksum not in unchanged))
                try:
                    files = _send_files(state, upload, unchanged)
                except IndexDamagedError as error:
                    raise IndexDamagedError(f"{store.folder}: {error}") from error
                with state.catalog.open("rb") as file:
                    manifest = _manifest(state, upload.send(file, catalog), files, self._names())
            self._check_complete(manifest)
            running.confirm()
            # The commit: before this object there is no snapshot, and after it a whole one.
            self._objects.write(f"{_SNAPSHOTS}/{manifest.name}", manifest.encode())
            report = state.report()
            return CopyReport(report.documents, report.files, report.bytes, manifest.name, upload.transferred)

    @contextmanager
    def fetched(
        self, name: str | None, folder: Path, reuse: Sequence[Path], *, show_progress: bool
    ) -> Iterator[tuple[str, int]]:
        """Fetch a snapshot to `folder`, an index while the block runs; yield its name and the number of bytes fetched.

        An interrupted download stays there, and the next one resumes it. The block's normal end removes the folder.
        Files that indexes in `reuse` have are linked instead of fetched.

        Raises:
            RepositoryError: there is no such snapshot, or the place cannot be read.
            IndexDamagedError: an object is missing or damaged; names it.
        """
        manifest = self._manifest(name)
        (folder / SEGMENT_FOLDER).mkdir(parents=True, exist_ok=True)
        # Logs of a database that an earlier run opened belong to other bytes.
        for log in ("-wal", "-shm"):
            durable.remove(folder / f"{CATALOG_FILE}{log}")
        with progress_bar(manifest.total_bytes, "Fetching", enabled=show_progress, unit="bytes") as bar:
            download = Download(self._objects, bar)
            for file in manifest.files:
                path = folder / SEGMENT_FOLDER / file.name
                record = FileRecord(file.name, file.bytes, file.checksum)
                if _linked(record, path, reuse):
                    bar(file.bytes)
                    continue
                download.fetch(file, path)
                if problem := damage(path, record):
                    raise IndexDamagedError(f"{self.url}: {problem}; restore another snapshot")
            download.fetch(manifest.catalog, folder / CATALOG_FILE)
        yield manifest.name, download.transferred
        shutil.rmtree(folder)

    def prune(self, keep: int) -> PruneReport:
        """Remove all snapshots but the newest `keep`, and then the objects that none of these needs.

        Raises:
            RepositoryError: a snapshot is being written.
            IndexDamagedError: a manifest that would stay is damaged, so that the parts it needs are unknown.
        """
        if not isinstance(keep, int) or isinstance(keep, bool):
            raise wrong_type("keep", "an integer", keep)
        if keep < 1:
            raise invalid("keep", "at least 1", keep)
        with operation(self._objects, "prune") as running:
            manifests = self._manifests()
            names = list(manifests)
            needed: dict[str, int] = {}
            for name in names[-keep:]:
                manifest = manifests[name]
                if isinstance(manifest, IndexDamagedError):
                    raise IndexDamagedError(f"{manifest}; nothing was pruned: remove that object first")
                needed |= manifest.sizes()
            # Manifests first: stopped in between, there is no snapshot whose parts are gone.
            self._objects.remove([f"{_SNAPSHOTS}/{name}" for name in names[:-keep]])
            unneeded = {part: size for part, size in self._objects.sizes(PARTS).items() if part not in needed}
            parts = [f"{PARTS}/{part}" for part in unneeded]
            for start in range(0, len(parts), _BATCH):
                running.renew()
                self._objects.remove(parts[start : start + _BATCH])
        return PruneReport(tuple(names[:-keep]), len(parts), sum(unneeded.values()))

    def _manifests(self) -> dict[str, Manifest | IndexDamagedError]:
        """Return every manifest, or what is wrong with it, by name, oldest first."""
        manifests: dict[str, Manifest | IndexDamagedError] = {}
        for name in self._names():
            try:
                manifests[name] = self._read(name)
            except IndexDamagedError as error:
                manifests[name] = error
            except MissingObjectError:
                # Pruned since they were listed.
                continue
        return manifests

    def _names(self) -> list[str]:
        return sorted(name for name in self._objects.sizes(_SNAPSHOTS) if not name.endswith(durable.TEMPORARY))

    def _read(self, name: str) -> Manifest:
        path = f"{_SNAPSHOTS}/{name}"
        return parse_manifest(self._objects.read(path), f"{self.url}/{path}")

    def _manifest(self, name: str | None) -> Manifest:
        names = self._names()
        if not names:
            fix = local_fix(f"`serotine snapshot INDEX -o {self.url}` writes one")
            raise RepositoryError(f"{self.url}: no snapshots; {fix}")
        if name is not None and name not in names:
            shown = ", ".join(reversed(names[-_SHOWN:]))
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            raise RepositoryError(f"{self.url}: no snapshot {name!r}; the newest are {shown}{more}")
        try:
            return self._read(name or names[-1])
        except MissingObjectError:
            raise RepositoryError(f"{self.url}: snapshot {name or names[-1]!r} was pruned; restore another") from None

    def _check_complete(self, manifest: Manifest) -> None:
        """Raise RepositoryError unless every part of a snapshot is listed with its size."""
        present = self._objects.sizes(PARTS)
        missing = [part for part, size in manifest.sizes().items() if present.get(part) != size]
        if missing:
            raise RepositoryError(
                f"{self.url}/{PARTS}/{missing[0]}: was sent, but is not there; run the same command again"
            )


def _send_files(state: CommittedState, upload: Upload, unchanged: Mapping[str, StoredFile]) -> tuple[StoredFile, ...]:
    """Send what the repository lacks of each file; a file of an earlier snapshot is not even read."""
    files = []
    for file, record in state.files:
        earlier = unchanged.get(record.checksum)
        files.append(
            upload.send(file, record)
            if earlier is None
            else StoredFile(record.name, record.bytes, record.checksum, earlier.parts)
        )
    return tuple(files)


def _manifest(
    state: CommittedState, catalog: StoredFile, files: tuple[StoredFile, ...], earlier: Sequence[str]
) -> Manifest:
    now = time = datetime.now(UTC)
    # The newest snapshot has the last name, also where the clock was set back since: a prune removes the others.
    for name in earlier:
        with suppress(ValueError):
            time = max(time, datetime.strptime(name, _NAME).replace(tzinfo=UTC) + timedelta(microseconds=1))
    return Manifest(time.strftime(_NAME), now.isoformat(timespec="seconds"), state.documents, catalog, files)
