"""Shards served by Ray actors: calls in parallel, with a deadline, replicas, and replacement of what has died."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from serotine.distributed.cluster_room import RESTART, ClusterRoom
from serotine.distributed.ray_library import ended_because
from serotine.distributed.replica import CONCURRENCY, Replica, Serving
from serotine.distributed.shard_server import NotReady, ShardServer
from serotine.distributed.snapshot_cache import ShardSource
from serotine.errors import ShardUnavailableError
from serotine.index import Replies, Shards

# Response times by which a second replica is asked, and how many are needed to know the slowest twentieth.
_RECENT, _LEAST_RECENT, _SLOW = 500, 40, 0.95
# Of the deadline, until then.
_UNKNOWN_SLOW = 0.25
_POLL_SECONDS = 0.1
# In which a process starts again, where the cluster has room.
_RESTART_SECONDS = 10.0


@dataclass(slots=True)
class _Generation:
    """Who answers for every shard from one upgrade to the next, and how many searches began in that time and run."""

    servings: tuple[Serving, ...]
    searches: int = 0


@dataclass(slots=True)
class _Call:
    """A request to one shard: when it was sent, and to which replicas."""

    sent: float
    replicas: list[Replica] = field(default_factory=list)
    is_hedged: bool = False


@dataclass(slots=True)
class _Calls:
    """One request to several shards.

    Attributes:
        servings: who answers for every shard.
        method, arguments: the request.
        by_shard: calls of every shard.
        pending: the shard and replica of every reference without an answer.
    """

    servings: Sequence[Serving]
    method: str
    arguments: Mapping[int, tuple[Any, ...]]
    by_shard: dict[int, _Call]
    pending: dict[Any, tuple[int, Replica]] = field(default_factory=dict)
    replies: Replies = field(default_factory=Replies)


class RayShards:
    """Shards that are Ray actors, one for each replica; see `Shards`.

    Ray starts an actor again when its process or node dies, where the cluster has room. Until it answers, requests
    go to other replicas, or leave the shard out without waiting.

    Args:
        ray: the module, connected.
        place: of the sharded index, for messages.
        sources: of every shard.
        replicas: actors per shard.
        deadline: seconds that a request may take.
        cpus: processors that Ray reserves for an actor.

    Attributes:
        room: what the cluster has for them.
    """

    def __init__(
        self, ray: Any, place: str, sources: Sequence[ShardSource], *, replicas: int, deadline: float, cpus: float
    ) -> None:
        self.place = place
        self.count = len(sources)
        self.deadline = deadline
        self._ray = ray
        self._cpus = cpus
        self.room = ClusterRoom(ray, place, {"CPU": cpus}, len(sources) * replicas, setting="cpus=")
        self._lock = threading.Lock()
        self._next = 0
        self._times: deque[float] = deque(maxlen=_RECENT)
        # Of snapshots; a writer may serve a shard instead.
        self._replicas = [
            tuple(Replica(ray, lambda source=source: self._start(source)) for _ in range(replicas))  # type: ignore[misc]
            for source in sources
        ]
        by_shard = zip(sources, self._replicas, strict=True)
        self._current = _Generation(tuple(Serving(source.snapshot, of_shard) for source, of_shard in by_shard))
        self._former: list[_Generation] = []

    def _start(self, source: ShardSource) -> Any:
        server = self._ray.remote(ShardServer).options(
            num_cpus=self._cpus,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=CONCURRENCY,
            scheduling_strategy="SPREAD",
        )
        return server.remote(source.url, source.storage_options)

    @property
    def servings(self) -> tuple[Serving, ...]:
        """Who answers for every shard now."""
        return self._current.servings

    def replicas(self, shard: int) -> tuple[Replica, ...]:
        """Return the replicas of a shard that serve its snapshots."""
        return self._replicas[shard]

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until every shard has restored and opened its snapshot.

        Raises:
            ShardUnavailableError: a shard cannot, or not in `timeout` seconds.
        """
        servings = enumerate(self.servings)
        self._wait([(shard, replica, serving.state) for shard, serving in servings for replica in serving.replicas],
                   time.monotonic() + timeout)  # fmt: skip

    def upgrade(self, snapshots: Mapping[int, str], timeout: float) -> None:
        """Replace the snapshots of shards, one replica of each after the other; then all searches that begin see them.

        Searches under way keep the snapshots that they began with, which the replicas have open until then.

        Raises:
            ShardUnavailableError: a snapshot cannot be opened, or not in `timeout` seconds; searches see the former.
        """
        end = time.monotonic() + timeout
        for shard, name in snapshots.items():
            for replica in self._replicas[shard]:
                # Searches that others answer do not notice that it is back, or has to be started again.
                while not replica.is_in_service(name) and time.monotonic() < end:
                    time.sleep(_POLL_SECONDS)
        replicas = max((len(self._replicas[shard]) for shard in snapshots), default=0)
        for number in range(replicas):
            self._wait([(shard, self._replicas[shard][number], name) for shard, name in snapshots.items()], end)
        self.serve({shard: Serving(name, self._replicas[shard]) for shard, name in snapshots.items()})

    def serve(self, changed: Mapping[int, Serving]) -> None:
        """Let others answer for some shards, in all searches that begin from now on."""
        with self._lock:
            servings = tuple(changed.get(shard, serving) for shard, serving in enumerate(self.servings))
            self._former.append(self._current)
            self._current = _Generation(servings)
        self._retire()

    @contextmanager
    def pinned(self) -> Iterator[Shards]:
        """See `Shards`."""
        with self._lock:
            generation = self._current
            generation.searches += 1
        try:
            yield _PinnedShards(self, generation.servings)
        finally:
            with self._lock:
                generation.searches -= 1
            if generation is not self._current:
                self._retire()

    def _retire(self) -> None:
        """Close the states that no search needs any more."""
        with self._lock:
            ended = [generation for generation in self._former if not generation.searches]
            self._former = [generation for generation in self._former if generation.searches]
            live = [self._current, *self._former]
            needed = {(shard, one.servings[shard].state) for one in live for shard in range(self.count)}
            retired = {
                (shard, generation.servings[shard])
                for generation in ended
                for shard in range(self.count)
                if (shard, generation.servings[shard].state) not in needed
            }
        for shard, serving in retired:
            for replica in serving.replicas:
                replica.actor.retire.remote(serving.state, self.servings[shard].state)

    def _wait(self, asked: Sequence[tuple[int, Replica, str]], end: float) -> None:
        """Wait until replicas of shards have opened states."""
        started = time.monotonic()
        pending = {replica.actor.ready.remote(state): (shard, replica, state) for shard, replica, state in asked}
        while pending:
            reference = self.room.wait(list(pending), end)
            if reference is None:
                late = min(shard for shard, _, _ in pending.values())
                shortage = f"; {shortage}" if (shortage := self.room.shortage()) else ""
                raise self._unavailable(late, f"not open after {time.monotonic() - started:.0f} seconds{shortage}")
            shard, replica, state = pending.pop(reference)
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                replica.suspend(state)
                raise self._unavailable(shard, ended_because(error)) from error
            if isinstance(answer, NotReady):
                raise self._unavailable(shard, answer.reason)

    def call(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> Replies:
        """See `Shards`."""
        with self.pinned() as shards:
            return shards.call(method, arguments)

    def call_servings(
        self, servings: Sequence[Serving], method: str, arguments: Mapping[int, tuple[Any, ...]]
    ) -> Replies:
        """Call shards as `call` does, of these states."""
        calls = _Calls(servings, method, arguments, {shard: _Call(time.monotonic()) for shard in arguments})
        replies = calls.replies
        for shard in arguments:
            if not self._send(calls, shard):
                replies.missing[shard], advice = self._restarting(servings[shard])
                replies.advice = advice or replies.advice
        end = time.monotonic() + self.deadline
        hedging = self._slow_after()
        while calls.pending:
            now = time.monotonic()
            if now >= end:
                break
            unhedged = [calls.by_shard[shard].sent for shard, _ in calls.pending.values() if _can_hedge(calls, shard)]
            hedge_at = min(unhedged, default=math.inf) + hedging
            wait = min(end - now, max(hedge_at - now, 0.001))
            done, _ = self._ray.wait(list(calls.pending), num_returns=1, timeout=wait)
            for reference in done:
                if reference in calls.pending:
                    self._receive(calls, reference)
            now = time.monotonic()
            for shard in {shard for shard, _ in calls.pending.values()}:
                call = calls.by_shard[shard]
                if _can_hedge(calls, shard) and now >= call.sent + hedging:
                    call.is_hedged = True
                    self._send(calls, shard)
        for shard, replica in calls.pending.values():
            replies.missing[shard] = f"no answer within {self.deadline:g} seconds"
            replica.suspend(servings[shard].state)
        return replies

    def _send(self, calls: _Calls, shard: int) -> bool:
        """Send a request to a replica in service that it was not sent to yet; return whether there is one."""
        call, serving = calls.by_shard[shard], calls.servings[shard]
        candidates = [replica for replica in serving.replicas if all(replica is not asked for asked in call.replicas)]
        in_service = [replica for replica in candidates if replica.is_in_service(serving.state)]
        if not in_service:
            return False
        with self._lock:
            self._next += 1
            replica = in_service[self._next % len(in_service)]
        call.replicas.append(replica)
        calls.pending[replica.actor.call.remote(serving.state, calls.method, calls.arguments[shard])] = shard, replica
        return True

    def _receive(self, calls: _Calls, reference: Any) -> None:
        """Take the answer of a shard; where its replica has died, ask another."""
        shard, replica = calls.pending.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            answer = NotReady(ended_because(error))
        if isinstance(answer, NotReady):
            replica.suspend(calls.servings[shard].state)
            still_asked = any(other == shard for other, _ in calls.pending.values())
            if not still_asked and not self._send(calls, shard):
                calls.replies.missing[shard] = answer.reason
            return
        calls.replies.answers[shard] = answer
        self._times.append(time.monotonic() - calls.by_shard[shard].sent)
        for late in [late for late, (other, _) in calls.pending.items() if other == shard]:
            del calls.pending[late]

    def _restarting(self, serving: Serving) -> tuple[str, str]:
        """Return why no replica of a shard is in service, and what to do if that is not to wait for its start."""
        if not self.room.has_machine():
            return self.room.shortage(), RESTART
        seconds = min(replica.seconds_out_of_service() for replica in serving.replicas)
        if seconds < _RESTART_SECONDS or not (shortage := self.room.shortage()):
            return "starting again", ""
        return f"starting again for {seconds:.0f} seconds: {shortage}", "try again when the cluster has room"

    def _slow_after(self) -> float:
        """Return the seconds after which a second replica is asked: what one request in twenty takes."""
        times = sorted(self._times)
        return times[int(_SLOW * len(times))] if len(times) >= _LEAST_RECENT else self.deadline * _UNKNOWN_SLOW

    def _unavailable(self, shard: int, why: str) -> ShardUnavailableError:
        return ShardUnavailableError(f"{self.place}: shard {shard} is not available ({why})")

    def process_ids(self) -> list[list[int]]:
        """Return the process ids of the replicas that answer for every shard."""
        return [
            [self._ray.get(replica.actor.ready.remote(serving.state)) for replica in serving.replicas]
            for serving in self.servings
        ]

    def close(self) -> None:
        """End the actors."""
        for replicas in self._replicas:
            for replica in replicas:
                replica.close()


class _PinnedShards:
    """The shards of one search: each in the state that it had when the search began."""

    def __init__(self, shards: RayShards, servings: Sequence[Serving]) -> None:
        self.place = shards.place
        self.count = shards.count
        self._shards = shards
        self._servings = servings

    def call(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> Replies:
        """See `Shards`."""
        return self._shards.call_servings(self._servings, method, arguments)

    @contextmanager
    def pinned(self) -> Iterator[Shards]:
        """See `Shards`."""
        yield self


def _can_hedge(calls: _Calls, shard: int) -> bool:
    """Return whether a second replica may be asked: once, because then a slow answer is not the replica's fault."""
    call = calls.by_shard[shard]
    return not call.is_hedged and len(call.replicas) < len(calls.servings[shard].replicas)
