"""Calls of shards whose processes are slow or dead, with threads in the place of Ray's processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any

import pytest

from serotine.distributed import cluster_room, ray_shards
from serotine.distributed.manifest import ShardManifest, ShardRecord
from serotine.distributed.ray_library import connected_ray, processors_each
from serotine.distributed.ray_shards import RayShards
from serotine.distributed.ray_writers import RayWriters
from serotine.distributed.shard_server import NotReady
from serotine.distributed.snapshot_cache import ShardSource
from serotine.errors import SerotineError, ShardUnavailableError, WaitingForClusterWarning
from serotine.index import Settings


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class ActorDiedError(RayActorError):
    pass


class ActorUnschedulableError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class FakeRay:
    """What `RayShards` uses of Ray. `behaviors` has what each actor does for a request, by the order of their start."""

    exceptions = SimpleNamespace(
        RayError=RayError,
        RayActorError=RayActorError,
        ActorDiedError=ActorDiedError,
        ActorUnschedulableError=ActorUnschedulableError,
        RayTaskError=RayTaskError,
    )

    def __init__(self, behaviors: Sequence[Callable[[], Any]]) -> None:
        self.behaviors = list(behaviors)
        self.started = 0
        self.asked: list[int] = []
        self.states: list[str] = []
        self.retired: list[tuple[int, str, str]] = []
        self.pool = ThreadPoolExecutor(16)
        self.killed: list[int] = []
        self.machines = 1
        self.free = 100.0

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "Alive": machine < self.machines,
                "Resources": {"CPU": 100.0},
                "NodeID": f"node{machine}",
                "NodeManagerHostname": f"machine{machine}",
            }
            for machine in range(2)
        ]

    def available_resources(self) -> dict[str, float]:
        return {"CPU": self.free}

    def remote(self, _: type) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._start))

    def _start(self, *_: Any) -> Any:
        number = self.started
        self.started += 1

        def call(state: str, *_: Any) -> Future[Any]:
            self.asked.append(number)
            self.states.append(state)
            return self.pool.submit(lambda: self.behaviors[number]())

        def ready(_: str) -> Future[Any]:
            return self.pool.submit(lambda: self.behaviors[number]())

        def retire(state: str, newest: str) -> None:
            self.retired.append((number, state, newest))

        def begin(_: str) -> Future[Any]:
            return self.pool.submit(lambda: self.behaviors[number]())

        def node() -> Future[Any]:
            return self.pool.submit(lambda: self.behaviors[number]() and "node0")

        methods = {"call": call, "ready": ready, "retire": retire, "begin": begin, "node": node}
        return SimpleNamespace(
            number=number, **{name: SimpleNamespace(remote=method) for name, method in methods.items()}
        )

    def wait(
        self, references: list[Future[Any]], num_returns: int = 1, timeout: float | None = None
    ) -> tuple[list[Future[Any]], list[Future[Any]]]:
        assert num_returns == 1
        done, _ = wait(references, timeout=timeout, return_when=FIRST_COMPLETED)
        first = [reference for reference in references if reference in done][:1]
        return first, [reference for reference in references if reference not in first]

    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node_id, soft: node_id)
    )

    def kill(self, actor: Any) -> None:
        self.killed.append(actor.number)

    def get(self, reference: Future[Any]) -> Any:
        return reference.result()


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def shards(ray: FakeRay, count: int, *, replicas: int = 1, deadline: float = 0.4) -> RayShards:
    sources = [ShardSource(f"file:///shard{shard}", "name") for shard in range(count)]
    return RayShards(ray, "collection", sources, replicas=replicas, deadline=deadline, cpus=1.0)


def died() -> Any:
    raise ActorDiedError("gone")


def ask(place: RayShards) -> Any:
    return place.call("documents", dict.fromkeys(range(place.count), ()))


def test_a_late_shard_is_missing_and_not_waited_for_until_it_answers(release: threading.Event) -> None:
    ray = FakeRay([lambda: 1, lambda: release.wait(30) and 2])
    place = shards(ray, 2)
    replies = ask(place)
    assert (replies.answers, replies.missing) == ({0: 1}, {1: "no answer within 0.4 seconds"})
    started = time.monotonic()
    replies = ask(place)
    assert time.monotonic() - started < 0.3
    assert (replies.answers, replies.missing) == ({0: 1}, {1: "starting again"})
    release.set()
    end = time.monotonic() + 10
    while ask(place).missing:
        assert time.monotonic() < end
    assert ask(place).answers == {0: 1, 1: 2}


def test_another_replica_is_asked_when_one_has_died_or_is_slow(release: threading.Event) -> None:
    for bad in (died, lambda: release.wait(30)):
        ray = FakeRay([bad, lambda: 7, lambda: 7])
        place = shards(ray, 1, replicas=2, deadline=4.0)
        # Whichever is asked first: requests alternate.
        for _ in range(2):
            assert ask(place).answers == {0: 7}
        assert {0, 1} <= set(ray.asked)


def test_a_request_is_sent_to_a_second_replica_after_the_time_of_most(release: threading.Event) -> None:
    ray = FakeRay([lambda: 1, lambda: 1])
    place = shards(ray, 1, replicas=2, deadline=30.0)
    for _ in range(60):
        ask(place)
    assert len(ray.asked) < 70
    ray.behaviors[0] = lambda: release.wait(60)
    started = time.monotonic()
    for _ in range(2):
        assert ask(place).answers == {0: 1}
    # Long before a quarter of the deadline.
    assert time.monotonic() - started < 3


def test_what_keeps_a_shard_from_starting_again_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_room, "_CHECK_SECONDS", 0.0)
    monkeypatch.setattr(ray_shards, "_RESTART_SECONDS", 0.05)
    forever = threading.Event()
    ray = FakeRay([died, lambda: forever.wait(30)])
    ray.free = 0.5
    place = shards(ray, 1)
    ask(place)
    assert ask(place).missing == {0: "starting again"}
    time.sleep(0.1)
    replies = ask(place)
    assert replies.missing == {
        0: "starting again for 0 seconds: each process reserves 1 CPU (cpus=), and 0.5 of 100 are free on 1 machine"
    }
    assert replies.advice == "try again when the cluster has room"
    ray.machines = 0
    replies = ask(place)
    assert replies.missing == {0: "no machine of the Ray cluster is alive"}
    assert replies.advice == "start Ray, and open the index again"
    forever.set()


def test_opening_waits_for_room_says_so_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_room, "_CHECK_SECONDS", 0.02)
    monkeypatch.setattr(cluster_room, "_QUIET_SECONDS", 0.1)
    forever = threading.Event()
    ray = FakeRay([lambda: forever.wait(30)])
    ray.free, ray.machines = 0.0, 2
    place = shards(ray, 1)
    lack = r"each process reserves 1 CPU \(cpus=\), and 0 of 200 are free on 2 machines"
    with (
        pytest.warns(WaitingForClusterWarning, match=f"^collection: waiting .*, 0 seconds at most: {lack}$") as issued,
        pytest.raises(ShardUnavailableError, match=rf"shard 0 is not available \(not open after 0 seconds; {lack}\)"),
    ):
        place.wait_until_ready(0.3)
    assert len(issued) == 1
    ray.machines = 0
    started = time.monotonic()
    with pytest.raises(ShardUnavailableError, match="no machine of the Ray cluster is alive"):
        place.wait_until_ready(60.0)
    assert time.monotonic() < started + 5
    forever.set()


def writers(ray: FakeRay, place: RayShards, timeout: float) -> RayWriters:
    records = tuple(ShardRecord("20261130-000000-000000", 1) for _ in range(place.count))
    return RayWriters(ray, place, "file:///collection", ShardManifest(Settings(4), records), None, timeout)


def test_writers_start_together_and_one_that_cannot_begin_is_not_taken_for_lost_changes() -> None:
    both = threading.Barrier(2)

    def begin(answer: NotReady | None) -> Any:
        both.wait(10)
        return answer

    ray = FakeRay([lambda: 1, lambda: 1, lambda: begin(None), lambda: begin(NotReady("no bucket")), lambda: None])
    ray.behaviors.append(lambda: None)
    all_writers = writers(ray, shards(ray, 2), 10.0)
    with pytest.raises(ShardUnavailableError, match=r"collection: shard 1 of 2: no bucket$"):
        all_writers._begin([0, 1])
    assert ray.killed == [3]
    all_writers._begin([1])
    assert ray.started == 5


def test_a_change_where_no_machine_is_alive_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_room, "_CHECK_SECONDS", 0.02)
    forever = threading.Event()
    ray = FakeRay([lambda: forever.wait(30)])
    place = shards(ray, 1)
    ray.machines = 0
    started = time.monotonic()
    advice = "no machine of the Ray cluster is alive; start Ray, and open the index again$"
    with pytest.raises(ShardUnavailableError, match=f"collection: shard 0 of 1: {advice}"):
        writers(ray, place, 600.0)._begin([0])
    assert time.monotonic() < started + 5
    ray.machines = 1
    with pytest.raises(ShardUnavailableError, match=r"shard 0 of 1: none of its processes answers$"):
        writers(ray, place, 0.1)._begin([0])
    forever.set()


def test_processors_that_shards_reserve_themselves_are_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_room, "_CHECK_SECONDS", 0.0)
    ray = FakeRay([])
    ray.free = 1.0
    room = cluster_room.ClusterRoom(ray, "collection", {"CPU": 1.0})
    ray.free = 0.0
    assert room.shortage() == ""
    # A machine was lost, and the others have fewer than it takes.
    ray.free = 200.0
    room = cluster_room.ClusterRoom(ray, "collection", {"CPU": 1.0}, 200)
    ray.free = 0.0
    assert room.shortage() == "each process reserves 1 CPU, and 0 of 100 are free on 1 machine"


def test_an_actor_that_died_for_good_is_replaced() -> None:
    ray = FakeRay([died, lambda: 5])
    place = shards(ray, 1)
    assert ask(place).missing == {0: "its process or machine ended"}
    end = time.monotonic() + 10
    while ask(place).answers != {0: 5}:
        assert time.monotonic() < end
    assert ray.started == 2


def test_what_a_shard_raises_is_raised_and_what_it_cannot_open_is_said() -> None:
    def wrong() -> Any:
        raise RayTaskError(ValueError("where: is wrong"))

    with pytest.raises(ValueError, match="where: is wrong"):
        ask(shards(FakeRay([wrong]), 1))
    assert ask(shards(FakeRay([lambda: NotReady("no bucket")]), 1)).missing == {0: "no bucket"}


def test_searches_under_way_end_with_the_snapshot_they_began_with() -> None:
    ray = FakeRay([lambda: 1] * 4)
    # Nothing is hedged.
    place = shards(ray, 2, replicas=2, deadline=600.0)
    with place.pinned() as search:
        search.call("rank", {0: (), 1: ()})
        place.upgrade({1: "newer"}, 5.0)
        search.call("rows", {0: (), 1: ()})
        ask(place)
        assert ray.states == ["name"] * 4 + ["name", "newer"]
        assert not ray.retired
    assert sorted(ray.retired) == [(2, "name", "newer"), (3, "name", "newer")]
    place.upgrade({1: "newest"}, 5.0)
    assert ray.retired[2:] == [(2, "newer", "newest"), (3, "newer", "newest")]


def test_a_snapshot_that_cannot_be_opened_is_not_served() -> None:
    ray = FakeRay([lambda: 1, lambda: 1])
    place = shards(ray, 2)
    ray.behaviors[1] = lambda: NotReady("no bucket")
    with pytest.raises(ShardUnavailableError, match=r"collection: shard 1 is not available \(no bucket\)"):
        place.upgrade({0: "newer", 1: "newer"}, 5.0)
    ray.behaviors[1] = lambda: 1
    assert ask(place).answers == {0: 1, 1: 1}
    assert ray.states == ["name", "name"]


def test_a_dead_replica_is_started_again_for_a_snapshot() -> None:
    ray = FakeRay([lambda: 1, died, lambda: 1])
    place = shards(ray, 1, replicas=2)
    with pytest.raises(ShardUnavailableError, match="its process or machine ended"):
        place.upgrade({0: "newer"}, 5.0)
    place.upgrade({0: "newer"}, 5.0)
    assert ray.started == 3
    assert ask(place).answers == {0: 1}
    assert ray.states == ["newer"]


def test_connecting_keeps_the_handler_of_sigterm_and_rays_messages_out_of_the_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray replaces the handler, and prints to the standard output unless this variable says otherwise."""

    def own(_number: int, _frame: Any) -> None: ...

    def init(**_options: Any) -> None:
        assert os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] == "."
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.delenv("RAY_DEDUP_LOGS_SKIP_REGEX", raising=False)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    before = signal.signal(signal.SIGTERM, own)
    try:
        connected_ray()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
        del os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"]


def test_a_task_that_has_no_room_in_time_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_room, "_CHECK_SECONDS", 0.02)
    forever = threading.Event()
    ray: Any = FakeRay([lambda: forever.wait(30)])
    ray.free = 0.0
    cancelled: list[Any] = []
    ray.cancel = lambda reference, force: cancelled.append(reference)
    ray.remote = lambda _: SimpleNamespace(
        options=lambda **_: SimpleNamespace(remote=lambda _: ray.pool.submit(ray.behaviors[0]))
    )
    lack = "each process reserves 1 CPU, and 0 of 100 are free on 1 machine"
    with pytest.raises(SerotineError, match=f"^wiki: the Ray cluster had no room for a task in 0.1 seconds: {lack}$"):
        cluster_room.wait_for_room(ray, "wiki", {"num_cpus": 1}, 0.1)
    assert len(cancelled) == 1
    forever.set()
    cluster_room.wait_for_room(ray, "wiki", {"num_cpus": 1}, 10.0)


def test_processes_share_the_processors_of_a_small_cluster() -> None:
    small: Any = SimpleNamespace(available_resources=lambda: {"CPU": 2.0, "memory": 1e9})
    assert [processors_each(small, processes) for processes in (1, 2, 3)] == [1.0, 1.0, 0.0]
    # Ray leaves out what nothing is left of.
    assert processors_each(SimpleNamespace(available_resources=dict), 1) == 0.0
