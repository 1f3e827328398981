"""The writers of shards: Ray actors on the machines of their shards, and what of their changes is in storage."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from serotine.distributed.cluster_room import RESTART
from serotine.distributed.manifest import ShardManifest, ShardRecord, read_manifest, repository_url, write_manifest
from serotine.distributed.ray_library import ended_because
from serotine.distributed.ray_shards import RayShards
from serotine.distributed.replica import CONCURRENCY, Replica, Serving
from serotine.distributed.shard_server import NotReady
from serotine.distributed.snapshot_cache import ShardSource
from serotine.distributed.writer_server import FOLDER_PREFIX, WriterServer
from serotine.errors import IndexLockedError, SerotineError, ShardUnavailableError, reason
from serotine.index import CopyReport
from serotine.wording import worded


class RayWriters:
    """One writer per shard, started when the shard first changes; see `ShardWriters`. For one thread at a time.

    A writer's index is a folder of its machine. Before its first change after a snapshot, the manifest names machine
    and folder: whoever opens the sharded index next begins with what is there. From then on the writer answers
    searches of the shard, until its snapshot is in storage and the replicas have it.

    Args:
        ray: the module, connected.
        shards: the replicas.
        url: of the sharded index.
        manifest: as it was read there.
        storage_options: as fsspec takes them.
        timeout: seconds to wait until a writer has started, or replicas have a snapshot.
    """

    def __init__(
        self,
        ray: Any,
        shards: RayShards,
        url: str,
        manifest: ShardManifest,
        storage_options: Mapping[str, Any] | None,
        timeout: float,
    ) -> None:
        self.count = shards.count
        self.manifest = manifest
        self._ray = ray
        self._shards = shards
        self._url = url
        self._storage_options = storage_options
        self._timeout = timeout
        # By shard: the machine, the folder, and the actor.
        self._writers: dict[int, tuple[str, str, Replica]] = {}

    @property
    def unsaved(self) -> list[int]:
        """Shards with changes here that no snapshot has."""
        return [shard for shard in self._writers if self.manifest.shards[shard].unsaved]

    def recover(self, *, discard: bool) -> None:
        """Write snapshots of what an earlier process has changed without one.

        Shards that another process is changing are left to it: searches see their last snapshots.

        Args:
            discard: whether to forget changes that are on a machine which is not there, or were removed from it.

        Raises:
            ShardUnavailableError: a machine that has changes is not in the cluster, or its folder was removed.
        """
        for shard, record in enumerate(self.manifest.shards):
            if not record.unsaved:
                continue
            machine, _, folder = record.unsaved.partition("/")
            try:
                self._start(shard, machine, folder)
                if isinstance(answer := self._answer(shard, "ready", folder), NotReady):
                    raise self._lost(shard, answer.reason)
            except IndexLockedError:
                self._drop(shard)
            except ShardUnavailableError:
                self._drop(shard)
                if not discard:
                    raise
                self._record({shard: replace(record, unsaved="")})
        self.publish()

    def ask(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """See `ShardWriters`."""
        self._begin(sorted(arguments))
        answers, failed = self._call(method, arguments)
        if failed:
            shard, error = min(failed.items())
            raise error if isinstance(error, (ValueError, TypeError, KeyError)) else self._named(shard, error)
        return answers

    def change(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """See `ShardWriters`."""
        self._begin(sorted(arguments))
        unclaimed = {}
        for shard in arguments:
            machine, folder, _ = self._writers[shard]
            record = self.manifest.shards[shard]
            unclaimed[shard] = replace(record, changed=True, unsaved=f"{machine}/{folder}")
        self._record(unclaimed)
        self._shards.serve(
            {shard: Serving(self._writers[shard][1], (self._writers[shard][2],)) for shard in arguments}
        )  # fmt: skip
        answers, failed = self._call(method, arguments)
        if failed:
            shard, error = min(failed.items())
            done = f"of the others, shards {', '.join(map(str, sorted(answers)))} have changed" if answers else ""
            raise self._named(shard, error, done or "no other shard has changed") from error
        return answers

    def publish(self) -> None:
        """Write the snapshots of what has changed, then the manifest; then let the replicas answer for them.

        Where replicas cannot open a snapshot yet, the writer answers until the next time.

        Raises:
            SerotineError: a snapshot or the manifest cannot be written; the changes stay where they are.
        """
        self._begin(self.unsaved)
        arguments = {
            shard: (repository_url(self._url, shard), self._storage_options) for shard in self.unsaved
        }  # fmt: skip
        reports, failed = self._call("snapshot", arguments)
        records = {shard: self._saved(shard, report) for shard, report in reports.items()}
        self._record(records)
        behind = {
            shard: self.manifest.shards[shard].snapshot
            for shard in self._writers
            if shard not in failed and self._shards.servings[shard].state != self.manifest.shards[shard].snapshot
        }
        with suppress(ShardUnavailableError):
            self._shards.upgrade(behind, self._timeout)
        if failed:
            shard, error = min(failed.items())
            raise self._named(shard, error, "its changes are committed, but in no snapshot yet") from error

    def refresh(self) -> int:
        """Let searches see the snapshots that the manifest names now; return the number of shards that are others.

        Raises:
            SerotineError: the index has other shards or settings now, or a shard has changes here that it lacks.
        """
        manifest = read_manifest(self._url, self._storage_options)
        if (manifest.settings, len(manifest.shards)) != (self.manifest.settings, self.count):
            raise SerotineError(f"{self._url}: has other settings or another number of shards now; open it again")
        both = zip(manifest.shards, self.manifest.shards, strict=True)
        replaced = [shard for shard, (new, old) in enumerate(both) if new.snapshot != old.snapshot]
        if lost := sorted(set(replaced).intersection(self.unsaved)):
            raise SerotineError(
                f"{self._url}: shard {lost[0]} was replaced by another writer, and has changes at "
                f"{self.manifest.shards[lost[0]].unsaved} that are in no snapshot; open it again to drop them"
            )
        self._shards.upgrade(
            {
                shard: manifest.shards[shard].snapshot
                for shard in range(self.count)
                if shard not in self.unsaved and self._shards.servings[shard].state != manifest.shards[shard].snapshot
            },
            self._timeout,
        )
        for shard in replaced:
            self._drop(shard)
        self.manifest = manifest
        return len(replaced)

    def close(self) -> None:
        """End the writers; what they have committed stays, and is removed only where a snapshot has it."""
        for shard, (_, _, writer) in list(self._writers.items()):
            if shard not in self.unsaved:
                with suppress(self._ray.exceptions.RayError):
                    self._ray.get(writer.actor.remove.remote(), timeout=self._timeout)
            self._drop(shard)

    def _begin(self, shards: list[int]) -> None:
        """Start the writers of shards that have none, and those that have died.

        Raises:
            IndexLockedError: another process is changing a shard.
            ShardUnavailableError: a writer cannot be started.
        """
        for shard in shards:
            unsaved = self.manifest.shards[shard].unsaved
            if unsaved and shard not in self._writers:
                raise self._named(
                    shard, IndexLockedError(f"another process is changing it, at {unsaved}; retry after its snapshot")
                )
        new = [shard for shard in shards if shard not in self._writers]
        for shard in shards:
            if shard in self._writers:
                folder, writer = self._writers[shard][1:]
                try:
                    answer = self._answer(shard, "ready", folder)
                except ShardUnavailableError:
                    writer.replace()
                    answer = self._answer(shard, "ready", folder)
                if isinstance(answer, NotReady):
                    raise self._named(shard, ShardUnavailableError(answer.reason))
        begun: set[int] = set()
        try:
            # All at once: each is a process on the machine of its shard.
            for shard in new:
                self._start(shard, None, f"{FOLDER_PREFIX}{uuid.uuid4().hex}")
            beginning = {
                shard: self._writers[shard][2].actor.begin.remote(
                    self.manifest.shards[shard].unsaved.rpartition("/")[2]
                )
                for shard in new
            }
            for shard, reference in beginning.items():
                if isinstance(answer := self._result(shard, reference), NotReady):
                    raise self._named(shard, ShardUnavailableError(answer.reason))
                begun.add(shard)
        finally:
            # One that did not begin has no index, which would be taken for changes that were lost.
            for shard in set(new) - begun:
                self._drop(shard)

    def _start(self, shard: int, machine: str | None, folder: str) -> None:
        """Start the writer of a shard on a machine; None: on one that has its snapshot."""
        node = "" if machine else self._node(shard)
        nodes = {one["NodeID"]: one["NodeManagerHostname"] for one in self._ray.nodes() if one["Alive"]}
        if machine is None and node not in nodes:
            raise self._named(shard, ShardUnavailableError("its machine has just ended"))
        machine = machine or nodes[node]
        if machine not in nodes.values():
            raise self._lost(shard, f"machine {machine} is not in the cluster")
        record = self.manifest.shards[shard]
        source = ShardSource(repository_url(self._url, shard), record.snapshot, self._storage_options)
        self._writers[shard] = machine, folder, Replica(self._ray, self._starter(source, machine, folder))

    def _starter(self, source: ShardSource, machine: str, folder: str) -> Callable[[], Any]:
        node = ""

        def start() -> Any:
            nonlocal node
            # Another node of the same machine, after it was started again; if there is none, the actor says so.
            alive = [one for one in self._ray.nodes() if one["Alive"] and one["NodeManagerHostname"] == machine]
            ids = [one["NodeID"] for one in alive]
            node = node if node in ids else next(iter(ids), node)
            server = self._ray.remote(WriterServer).options(
                num_cpus=0,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=CONCURRENCY,
                scheduling_strategy=self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                    node_id=node, soft=False
                ),
            )
            return server.remote(source, folder)

        return start

    def _node(self, shard: int) -> str:
        """Return a node that runs the shard: that of the first replica that says so."""
        asked = [replica.actor.node.remote() for replica in self._shards.replicas(shard)]
        end = time.monotonic() + self._timeout
        why = "none of its processes answers"
        while asked and (reference := self._shards.room.wait(asked, end)) is not None:
            asked.remove(reference)
            try:
                node: str = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                why = ended_because(error)
            else:
                return node
        raise self._waited(shard, why)

    def _answer(self, shard: int, method: str, *arguments: Any) -> Any:
        return self._result(shard, getattr(self._writers[shard][2].actor, method).remote(*arguments))

    def _result(self, shard: int, reference: Any) -> Any:
        try:
            if self._shards.room.wait([reference], time.monotonic() + self._timeout) is None:
                raise self._waited(shard, f"no answer within {self._timeout:g} seconds")
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise self._named(shard, ShardUnavailableError(ended_because(error))) from error

    def _call(
        self, method: str, arguments: Mapping[int, tuple[Any, ...]]
    ) -> tuple[dict[int, Any], dict[int, Exception]]:
        """Return the answers of writers, and why others have none; none is still at work then."""
        references = {
            shard: self._writers[shard][2].actor.call.remote("", method, given) for shard, given in arguments.items()
        }
        answers: dict[int, Any] = {}
        failed: dict[int, Exception] = {}
        for shard, reference in references.items():
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                failed[shard] = error.cause
            except self._ray.exceptions.RayError as error:
                failed[shard] = ShardUnavailableError(
                    f"{ended_because(error)}, so that its part may or may not be committed"
                )  # fmt: skip
            else:
                if isinstance(answer, NotReady):
                    failed[shard] = ShardUnavailableError(answer.reason)
                else:
                    answers[shard] = answer
        return answers, failed

    def _record(self, records: Mapping[int, ShardRecord]) -> None:
        """Write the manifest with other records of some shards.

        Raises:
            SerotineError: another process has written it since.
        """
        shards = tuple(records.get(shard, record) for shard, record in enumerate(self.manifest.shards))
        if shards == self.manifest.shards:
            return
        if read_manifest(self._url, self._storage_options) != self.manifest:
            raise SerotineError(
                f"{self._url}: another process has changed it since it was opened; "
                + worded("refresh() it, and repeat the change", http="repeat the change in a minute")
            )
        manifest = replace(self.manifest, shards=shards)
        write_manifest(self._url, manifest, self._storage_options)
        self.manifest = manifest

    def _saved(self, shard: int, report: CopyReport) -> ShardRecord:
        return replace(
            self.manifest.shards[shard], snapshot=report.name or "", documents=report.documents, unsaved=""
        )  # fmt: skip

    def _drop(self, shard: int) -> None:
        if (writer := self._writers.pop(shard, None)) is not None:
            writer[2].close()

    def _named(self, shard: int, error: Exception, rest: str = "") -> SerotineError:
        kind = type(error) if isinstance(error, SerotineError) else SerotineError
        more = f"; {rest}" if rest else ""
        return kind(f"{self._shards.place}: shard {shard} of {self.count:,}: {reason(error)}{more}")

    def _waited(self, shard: int, why: str) -> SerotineError:
        """Return the error of a process that was waited for in vain."""
        room = self._shards.room
        shortage = room.shortage()
        return self._named(shard, ShardUnavailableError(shortage or why), "" if room.has_machine() else RESTART)

    def _lost(self, shard: int, why: str) -> ShardUnavailableError:
        return ShardUnavailableError(
            f"{self._shards.place}: shard {shard} has changes that are in no snapshot, at "
            f"{self.manifest.shards[shard].unsaved} ({why}); start that machine, or pass discard_changes=True"
        )
