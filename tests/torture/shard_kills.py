"""kill -9 of the processes of a sharded index on a Ray cluster: those that answer queries, and those that build it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any
from unittest.mock import patch

from serotine import Index
from serotine.distributed import ShardedIndex, build, owner
from serotine.distributed.manifest import read_manifest, repository_url
from serotine.errors import SerotineError, ShardUnavailableError

from .found import CACHE
from .outcomes import NOT_STARTED, Attack, Outcome

SHARDS, REPLICAS = 3, 2
# Id, score and text of every hit.
Facts = list[tuple[str, float, str | None]]
_WORDS = ("bat", "owl", "fox", "elk", "emu", "gnu", "moth", "night", "water", "cave", "wing", "echo")
_DOCUMENTS = 60
_QUERIES = ("an owl at night", "echo in a cave", "moth", "water and wings")
# Victims of a stream of queries.
_VICTIMS = ("a replica", "replicas of different shards", "a shard", "all shards")
# Times that a build's actors are killed; of the last, every one is, until the build gives up.
_BUILD_KILLS = (1, 1, 2, 3, 1000)
_KILLED_WITHIN = 1.0
_REPORTED_WITHIN = 1.0
# On a busy machine, processes take long to start.
_PATIENCE = 120.0
_TIMEOUT = 600.0
_PR_SET_PDEATHSIG = 1
# Ray reports every process that is killed.
LOG = CACHE / "ray.log"


class ShardKills(Attack):
    """A stream of queries, or a build, of which processes are killed.

    Ray is used in a process of its own: other attacks fork, which its threads do not survive.
    """

    name = "shard kills"
    share = 2.0
    log = LOG

    def __init__(self) -> None:
        super().__init__()
        self._driver: ProcessPoolExecutor | None = None

    @classmethod
    def missing(cls) -> str:
        if importlib.util.find_spec("ray") is None:
            return "the library ray is not installed: pip install 'serotine[ray]'"
        if importlib.util.find_spec("serotine_mini") is None:
            return "the model serotine-mini is not installed"
        return ""

    def attempt(self, rng: random.Random) -> Outcome:
        # The shim of other attacks is not for Ray's processes.
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        with patch.dict(os.environ, environment, clear=True):
            if self._driver is None:
                LOG.parent.mkdir(parents=True, exist_ok=True)
                context = multiprocessing.get_context("spawn")
                self._driver = ProcessPoolExecutor(1, context, initializer=redirect_output, initargs=(LOG,))
            attempt = self._driver.submit(_attempt, self.folder, rng)
        try:
            return attempt.result(_TIMEOUT)
        except (TimeoutError, BrokenProcessPool) as error:
            self._end()
            return Outcome("the driver ended", "a sharded index", f"{type(error).__name__}, within {_TIMEOUT:.0f} s")

    def close(self) -> None:
        self._end()
        super().close()

    def _end(self) -> None:
        """End the driver and everything that Ray has started."""
        if self._driver is not None:
            processes = cluster_processes(self.folder)
            with contextlib.suppress(TimeoutError, BrokenProcessPool):
                self._driver.submit(_shut_down).result(_PATIENCE / 2)
            for process in list(self._driver._processes.values()):
                process.kill()
            self._driver.shutdown(cancel_futures=True)
            self._driver = None
            for pid in {*processes, *cluster_processes(self.folder)}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class StartError(Exception):
    """Ray did not start."""


class _Cluster:
    """A Ray cluster of this process, a sharded index that it serves, and what queries find unless it is attacked."""

    def __init__(self, folder: Path) -> None:
        warnings.simplefilter("ignore")
        os.environ["SEROTINE_SHARDS"] = str(folder / "cache")
        self._ray, self._nodes = _started_ray(folder / "ray")
        self.folder = folder
        self._builds = 0
        documents = _documents(random.Random(0))
        url = str(folder / "served")
        build(_written(folder / "served.jsonl", documents), url, shards=SHARDS, encoder="mini")
        self._index = ShardedIndex.open(url, replicas=REPLICAS, deadline=30.0, cpus=0.2, start_timeout=_PATIENCE)
        self._expected = {query: facts(self._index.search(query, k=_DOCUMENTS, exact=True)) for query in _QUERIES}
        # Every build starts from a copy of this one.
        self._before = documents
        started = time.monotonic()
        build(_written(folder / "before.jsonl", documents), str(folder / "before"), shards=2, encoder="mini")
        self._build_seconds = time.monotonic() - started

    def close(self) -> None:
        self._index.close()
        self._ray.shutdown()
        self._nodes.shutdown()

    def queries(self, rng: random.Random) -> Outcome:
        """Kill processes that answer; every answer must be whole, or say what it lacks, and soon all are whole."""
        victims = rng.choice(_VICTIMS)
        state = f"{victims} killed during queries"
        pids = self._process_ids()
        if pids is None:
            return Outcome("not whole", state, "not all replicas answered before anything was killed")
        shard = rng.randrange(SHARDS)
        killed = {
            "a replica": [rng.choice(pids[shard])],
            "replicas of different shards": [rng.choice(of_shard) for of_shard in pids],
            "a shard": pids[shard],
            "all shards": [pid for of_shard in pids for pid in of_shard],
        }[victims]
        delays = [rng.uniform(0.0, _KILLED_WITHIN) for _ in killed]
        stream = _Stream(self._index, self._expected, may_be_none=victims == "all shards")
        started = time.monotonic()
        for delay, pid in sorted(zip(delays, killed, strict=True)):
            time.sleep(max(0.0, started + delay - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE
        whole = False
        while not whole and not stream.problems and time.monotonic() < deadline:
            now = self._process_ids()
            whole = now is not None and not {pid for of_shard in now for pid in of_shard} & set(killed)
            whole = whole and stream.is_whole_again()
        stream.end()
        problem = "; ".join(stream.problems[:3])
        if not problem and not whole:
            problem = f"not whole again within {_PATIENCE:.0f} s"
        if not problem and self._index.verify().documents != _DOCUMENTS:
            problem = "verify() does not count every document"
        kind = f"{victims}: {'some answers partial' if stream.partial else 'all answers whole'}"
        return Outcome(kind, f"{state}, {stream.answers} answers, {stream.partial} of them partial", problem)

    def _process_ids(self) -> list[list[int]] | None:
        """Return the process ids of every shard's replicas; None while one does not answer."""
        try:
            answers = self._index._shards.process_ids()
        except self._ray.exceptions.RayError:
            return None
        return answers if all(isinstance(pid, int) for of_shard in answers for pid in of_shard) else None

    def build(self, rng: random.Random) -> Outcome:
        """Kill actors of a build over an earlier one; what is at the URL must be the whole of one or the other."""
        self._builds += 1
        url = self.folder / f"build-{self._builds}"
        shutil.copytree(self.folder / "before", url)
        after = {id_: text for id_, text in self._before.items() if rng.random() < 0.8} | _documents(rng, "n")
        source = _written(self.folder / "after.jsonl", after)
        kills = rng.choice(_BUILD_KILLS)
        state = f"a build, killed {kills} times"
        failed: list[BaseException] = []

        def run() -> None:
            try:
                build(source, str(url), shards=2, encoder="mini")
            except BaseException as error:
                failed.append(error)

        builder = threading.Thread(target=run)
        builder.start()
        done, problem = 0, ""
        while builder.is_alive() and done < kills and not problem:
            # Actors that build: `submit` is what `ray.data` runs in them.
            busy = [pid for pid in cluster_processes(self.folder) if b"_Worker)).submit" in _command(pid)]
            if not busy:
                time.sleep(0.005)
                continue
            # Of those that are to be lost for good, only attempts that were reported count.
            builder.join(rng.uniform(0.0, self._build_seconds) if kills < max(_BUILD_KILLS) else _REPORTED_WITHIN)
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(busy), signal.SIGKILL)
                done += 1
            problem = self._problem(url, self._before, after)
        builder.join(_TIMEOUT / 2)
        state = f"{state}, {done} of them done"
        if builder.is_alive():
            return Outcome("hangs", state, "the build does not end")
        kind = "a build, continued" if done else "a build, ended before the kill"
        if failed:
            kind = "a build, given up and run again"
            if done <= 1 or not isinstance(failed[0], SerotineError) or "\n" in str(failed[0]):
                problem = problem or f"{type(failed[0]).__name__}: {failed[0]}"
            problem = problem or self._problem(url, self._before)
            run()
            problem = problem or "; ".join(map(str, failed[1:]))
        problem = problem or self._problem(url, after)
        shutil.rmtree(url)
        return Outcome(kind, state, problem)

    def _problem(self, url: Path, *allowed: dict[str, str]) -> str:
        """Restore and verify what the manifest at a URL names; return in words what is none of `allowed`."""
        stored: dict[str, str | None] = {}
        restored = self.folder / "restored"
        for shard, record in enumerate(read_manifest(str(url), None).shards):
            shutil.rmtree(restored, ignore_errors=True)
            Index.restore(repository_url(str(url), shard), restored, name=record.snapshot)
            with Index.open(restored, read_only=True) as index:
                if index.verify().documents != record.documents:
                    return f"shard {shard} has not the {record.documents} documents of its manifest"
                stored |= {hit.id: hit.text for hit in index.documents()}
        return "" if stored in allowed else f"{len(stored)} documents, which are neither those before nor those after"


class _Stream:
    """Threads that send the same queries until they are ended, and compare every answer."""

    def __init__(self, index: ShardedIndex, expected: dict[str, Facts], *, may_be_none: bool) -> None:
        self.answers = self.partial = 0
        self.problems: list[str] = []
        self._index = index
        self._expected = expected
        self._may_be_none = may_be_none
        self._ended = threading.Event()
        # Answers in a row that were whole.
        self._whole = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def is_whole_again(self) -> bool:
        """Wait for as many whole answers as any thread may have asked for before; return whether they came."""
        start, deadline = self._whole, time.monotonic() + _KILLED_WITHIN
        while time.monotonic() < deadline and not self.problems:
            if self._whole < start:
                return False
            if self._whole >= start + 2 * len(self._threads):
                return True
            time.sleep(0.01)
        return False

    def _run(self) -> None:
        while not self._ended.is_set():
            for query, expected in self._expected.items():
                try:
                    hits = self._index.search(query, k=_DOCUMENTS, exact=True)
                except ShardUnavailableError as error:
                    self._whole = 0
                    if not self._may_be_none:
                        self.problems.append(f"{query!r}: {error}")
                    continue
                except Exception as error:
                    self.problems.append(f"{query!r}: {type(error).__name__}: {error}")
                    return
                self.answers += 1
                missing = hits.partial.missing if hits.partial is not None else ()
                self.partial += hits.partial is not None
                self._whole = 0 if missing else self._whole + 1
                if problem := wrong(facts(hits), expected, missing, is_partial=hits.partial is not None):
                    self.problems.append(f"{query!r}: {problem}")


def wrong(found: Facts, expected: Facts, missing: tuple[int, ...], *, is_partial: bool) -> str:
    """Return in words what an answer has or lacks that the shards it says are missing do not explain."""
    if is_partial and not missing:
        return "partial, and names no shard"
    rest = [fact for fact in expected if owner(fact[0], SHARDS) not in missing]
    if found == rest:
        return ""
    return f"{len(found)} hits, where {len(rest)} of the shards other than {list(missing)} were expected"


def facts(hits: Any) -> Facts:
    """Return what a hit must be the same in."""
    return [(hit.id, hit.score, hit.text) for hit in hits]


def cluster_processes(folder: Path) -> list[int]:
    """Return the processes of the cluster that has its files in a folder: those that name it, and their descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    mark = str(folder / "ray").encode()
    found = {pid for pid in parents if mark in _command(pid)}
    while children := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= children
    return sorted(found)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _documents(rng: random.Random, prefix: str = "d") -> dict[str, str]:
    return {
        f"{prefix}{i}": f"{' '.join(rng.choices(_WORDS, k=rng.randint(3, 9)))} {rng.getrandbits(32)}"
        for i in range(_DOCUMENTS)
    }


def _written(path: Path, documents: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in documents.items()))
    return path


# In the driver's process.
_clusters: list[_Cluster] = []


def redirect_output(path: Path) -> None:
    """Write what this process prints, and the processes that it starts, to a file."""
    with path.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


def _started_ray(folder: Path) -> tuple[Any, Any]:
    """Return the module `ray`, connected to a cluster that this process starts, and the cluster.

    Raises:
        StartError: the machine is too busy.
    """
    os.environ |= {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Where it writes down which cluster runs: a cluster of the user's is not this one.
        "RAY_TMPDIR": str(folder.parent),
        # It kills too, and at moments that nobody chose.
        "RAY_memory_monitor_refresh_ms": "0",
    }
    # Where the runner is killed, this process ends too; then a process of Ray's ends the others.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    import ray
    from ray.cluster_utils import Cluster

    # As few processes as it can do with, none of which copies logs or adds nodes.
    node = {"num_cpus": 4, "object_store_memory": 100 << 20, "temp_dir": str(folder)}
    quiet = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    try:
        cluster = Cluster(initialize_head=True, head_node_args={**node, **quiet})
    # Of no class of its own; Ray waits for 30 seconds.
    except Exception as error:
        if "timed out" in str(error):
            raise StartError(str(error)) from error
        raise
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    return ray, cluster


def _attempt(folder: Path, rng: random.Random) -> Outcome:
    if not _clusters:
        try:
            _clusters.append(_Cluster(folder))
        except StartError as error:
            return Outcome(NOT_STARTED, f"a cluster: {error}")
    (cluster,) = _clusters
    return cluster.build(rng) if rng.random() < 0.4 else cluster.queries(rng)


def _shut_down() -> None:
    while _clusters:
        _clusters.pop().close()
