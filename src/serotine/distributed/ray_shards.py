"""Shards served by Ray actors: calls in parallel, with a deadline, replicas, and replacement of what has died."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serotine.distributed.shard_server import NotReady, ShardServer, ShardSource
from serotine.errors import ShardUnavailableError
from serotine.index import Replies

# Requests that a shard answers at the same time.
_CONCURRENCY = 4
# Response times by which a second replica is asked, and how many are needed to know the slowest twentieth.
_RECENT, _LEAST_RECENT, _SLOW = 500, 40, 0.95
# Of the deadline, until then.
_UNKNOWN_SLOW = 0.25


@dataclass(slots=True)
class _Replica:
    """An actor; `recovery` is set while it is out of service: a request that it answers when it is back."""

    actor: Any
    recovery: Any | None = None


@dataclass(slots=True)
class _Call:
    """A request to one shard: when it was sent, and to which replicas."""

    sent: float
    replicas: list[_Replica] = field(default_factory=list)
    is_hedged: bool = False


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
    """

    def __init__(
        self, ray: Any, place: str, sources: Sequence[ShardSource], *, replicas: int, deadline: float, cpus: float
    ) -> None:
        self.place = place
        self.count = len(sources)
        self.deadline = deadline
        self._ray = ray
        self._cpus = cpus
        self._sources = sources
        self._lock = threading.Lock()
        self._next = 0
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._replicas = [[_Replica(self._start(source)) for _ in range(replicas)] for source in sources]

    def _start(self, source: ShardSource) -> Any:
        server = self._ray.remote(ShardServer).options(
            num_cpus=self._cpus,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=_CONCURRENCY,
            scheduling_strategy="SPREAD",
        )
        return server.remote(source)

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until every shard has restored and opened its snapshot.

        Raises:
            ShardUnavailableError: a shard cannot, or not in `timeout` seconds.
        """
        pending = {replica.actor.ready.remote(): shard for shard, replica in self._all()}
        end = time.monotonic() + timeout
        while pending:
            done, _ = self._ray.wait(list(pending), num_returns=1, timeout=max(end - time.monotonic(), 0))
            if not done:
                raise self._unavailable(min(pending.values()), f"not open after {timeout:g} seconds")
            for reference in done:
                shard = pending.pop(reference)
                try:
                    answer = self._ray.get(reference)
                except self._ray.exceptions.RayActorError as error:
                    raise self._unavailable(shard, _first_line(error)) from error
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                if isinstance(answer, NotReady):
                    raise self._unavailable(shard, answer.reason)

    def call(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> Replies:
        """See `Shards`."""
        replies = Replies()
        calls = {shard: _Call(time.monotonic()) for shard in arguments}
        pending: dict[Any, tuple[int, _Replica]] = {}
        for shard in arguments:
            if not self._send(method, arguments, shard, calls, pending):
                replies.missing[shard] = "starting again"
        end = time.monotonic() + self.deadline
        hedging = self._slow_after()
        while pending:
            now = time.monotonic()
            if now >= end:
                break
            unhedged = [calls[shard].sent for shard, _ in pending.values() if self._can_hedge(shard, calls[shard])]
            hedge_at = min(unhedged, default=math.inf) + hedging
            wait = min(end - now, max(hedge_at - now, 0.001))
            done, _ = self._ray.wait(list(pending), num_returns=1, timeout=wait)
            for reference in done:
                if reference in pending:
                    self._receive(reference, method, arguments, calls, pending, replies)
            now = time.monotonic()
            for shard in {shard for shard, _ in pending.values()}:
                if self._can_hedge(shard, calls[shard]) and now >= calls[shard].sent + hedging:
                    calls[shard].is_hedged = True
                    self._send(method, arguments, shard, calls, pending)
        for shard, replica in pending.values():
            replies.missing[shard] = f"no answer within {self.deadline:g} seconds"
            self._suspend(replica)
        return replies

    def _send(
        self,
        method: str,
        arguments: Mapping[int, tuple[Any, ...]],
        shard: int,
        calls: dict[int, _Call],
        pending: dict[Any, tuple[int, _Replica]],
    ) -> bool:
        """Send a request to a replica in service that it was not sent to yet; return whether there is one."""
        candidates = [
            replica for replica in self._replicas[shard] if all(replica is not asked for asked in calls[shard].replicas)
        ]
        with self._lock:
            self._next += 1
            in_service = [replica for replica in candidates if self._is_in_service(shard, replica)]
            if not in_service:
                return False
            replica = in_service[self._next % len(in_service)]
        calls[shard].replicas.append(replica)
        pending[replica.actor.call.remote(method, arguments[shard])] = shard, replica
        return True

    def _receive(
        self,
        reference: Any,
        method: str,
        arguments: Mapping[int, tuple[Any, ...]],
        calls: dict[int, _Call],
        pending: dict[Any, tuple[int, _Replica]],
        replies: Replies,
    ) -> None:
        """Take the answer of a shard; where its replica has died, ask another."""
        shard, replica = pending.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            answer = NotReady(_first_line(error))
        if isinstance(answer, NotReady):
            self._suspend(replica)
            still_asked = any(other == shard for other, _ in pending.values())
            if not still_asked and not self._send(method, arguments, shard, calls, pending):
                replies.missing[shard] = answer.reason
            return
        replies.answers[shard] = answer
        self._times.append(time.monotonic() - calls[shard].sent)
        for late in [late for late, (other, _) in pending.items() if other == shard]:
            del pending[late]

    def _can_hedge(self, shard: int, call: _Call) -> bool:
        """Return whether a second replica may be asked: once, because then a slow answer is not the replica's fault."""
        return not call.is_hedged and len(call.replicas) < len(self._replicas[shard])

    def _slow_after(self) -> float:
        """Return the seconds after which a second replica is asked: what one request in twenty takes."""
        times = sorted(self._times)
        return times[int(_SLOW * len(times))] if len(times) >= _LEAST_RECENT else self.deadline * _UNKNOWN_SLOW

    def _suspend(self, replica: _Replica) -> None:
        """Take a replica out of service until it answers."""
        with self._lock:
            if replica.recovery is None:
                replica.recovery = replica.actor.ready.remote()

    def _is_in_service(self, shard: int, replica: _Replica) -> bool:
        """Return whether a replica is in service, again if it has answered meanwhile; replace it if it is dead."""
        if replica.recovery is None:
            return True
        done, _ = self._ray.wait([replica.recovery], timeout=0)
        if not done:
            return False
        try:
            answer = self._ray.get(replica.recovery)
        except self._ray.exceptions.ActorDiedError:
            # For good: Ray starts it no more.
            replica.actor = self._start(self._sources[shard])
            answer = NotReady("")
        except self._ray.exceptions.RayError as error:
            answer = NotReady(str(error))
        if isinstance(answer, NotReady):
            replica.recovery = replica.actor.ready.remote()
            return False
        replica.recovery = None
        return True

    def _all(self) -> list[tuple[int, _Replica]]:
        return [(shard, replica) for shard, replicas in enumerate(self._replicas) for replica in replicas]

    def _unavailable(self, shard: int, why: str) -> ShardUnavailableError:
        return ShardUnavailableError(f"{self.place}: shard {shard} is not available ({why})")

    def process_ids(self) -> list[list[int]]:
        """Return the process ids of every shard's replicas."""
        return [[self._ray.get(replica.actor.ready.remote()) for replica in replicas] for replicas in self._replicas]

    def close(self) -> None:
        """End the actors."""
        for _, replica in self._all():
            self._ray.kill(replica.actor)


def _first_line(error: BaseException) -> str:
    kind = type(error).__name__
    if "Unavailable" in kind:
        return "its process cannot be reached"
    return "its process or machine ended" if "Died" in kind or "Crashed" in kind else kind
