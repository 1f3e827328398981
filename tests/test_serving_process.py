"""The server as a process: killed, stopped, overloaded, with several workers, and during writes."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers.serving_cases import Server, create_vector_index, serving, vectors

from serotine import Index
from serotine.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

FAKE = (sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py"))
SCHEMATHESIS = Path(sys.executable).with_name("st")


def children(pid: int) -> list[int]:
    """Return the worker processes, without the resource tracker of Python's multiprocessing."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in map(int, pids) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Writers:
    """Threads that add and delete until the server ends, with the ids they sent, got acknowledged and deleted."""

    def __init__(self, server: Server, round_number: int, threads: int) -> None:
        self.server, self.round_number = server, round_number
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.deleted: set[str] = set()
        self._pool = ThreadPoolExecutor(threads)
        self._threads = [self._pool.submit(self._write, thread) for thread in range(threads)]

    def _write(self, thread: int) -> None:
        client = self.server.client("i", timeout=10)
        for number in range(10_000):
            ids = [f"{self.round_number}-{thread}-{number}-{i}" for i in range(8)]
            self.sent.update(ids)
            try:
                client.add(ids, vectors=vectors(8, number))
                self.acknowledged.update(ids)
                if number % 3 == 2:
                    # Recorded first: an unacknowledged delete may or may not be committed.
                    self.deleted.add(ids[0])
                    client.delete([ids[0]])
            except ServerError:
                return

    def join(self) -> None:
        for thread in self._threads:
            thread.result()
        self._pool.shutdown()


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_while_writing_loses_nothing_acknowledged(tmp_path: Path, workers: int) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 10)
    committed = {f"v{i}" for i in range(10)}
    for round_number in range(3):
        with serving(path, "--workers", workers) as server:
            writers = Writers(server, round_number, threads=4)
            wait_until(partial(has_at_least, writers.acknowledged, 24 + 40 * round_number))
            processes = [server.process.pid, *(children(server.process.pid) if workers > 1 else [])]
            server.kill()
            writers.join()
        # Workers stop when their supervisor ends.
        wait_until(partial(all_ended, processes))
        with Index.open(path) as index:
            index.verify()
            stored = set(index.ids())
        lost = (committed | writers.acknowledged) - writers.deleted - stored
        assert not lost
        assert stored <= committed | writers.sent
        committed = stored
    assert len(committed) > 100


def has_at_least(ids: set[str], count: int) -> bool:
    return len(ids) >= count


def all_ended(processes: list[int]) -> bool:
    return not any(map(alive, processes))


def test_searches_continue_while_5000_documents_are_added(tmp_path: Path) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 200)
    rounds, batch_size = 50, 100
    with serving(path) as server, ThreadPoolExecutor(3) as pool:
        finished = threading.Event()

        def read() -> list[float]:
            client, times = server.client("i"), []
            (query,) = vectors(1)
            newest = 0
            while not finished.is_set():
                started = time.perf_counter()
                hits = client.search(query, 5)
                times.append(time.perf_counter() - started)
                assert len(hits) == 5
                assert hits.stats.documents >= newest, "a search never sees an older commit than the one before"
                newest = hits.stats.documents
            return times

        readers = [pool.submit(read) for _ in range(2)]
        writer = server.client("i")
        for round_number in range(rounds):
            writer.add([f"{round_number}-{i}" for i in range(batch_size)], vectors=vectors(batch_size, round_number))
        finished.set()
        times = sorted(time for reader in readers for time in reader.result())
        assert len(writer) == 200 + rounds * batch_size
        assert len(times) > rounds
        assert times[int(0.99 * len(times))] < 2.0, "seconds"
        # A write returns once committed, so the next search finds it.
        writer.add(["last"], vectors=vectors(1, 9_999))
        assert writer.search(vectors(1, 9_999)[0], 1)[0].id == "last"


def test_sigterm_waits_for_running_requests(tmp_path: Path) -> None:
    path = tmp_path / "i.serotine"
    source = tmp_path / "one.txt"
    source.write_text("bats")
    subprocess.run([*FAKE, "index", str(source), "-o", str(path)], check=True, capture_output=True)
    with serving(path, program=FAKE, FAKE_DELAY="0.01") as server, ThreadPoolExecutor(1) as pool:
        client = server.client("i")
        adding = pool.submit(client.add, [f"d{i}" for i in range(100)], ["owls hunt mice"] * 100)
        time.sleep(0.3)
        assert not adding.done()
        assert server.stop() == 0
        # It was acknowledged, so it is committed.
        adding.result()
        with pytest.raises(ServerError, match="cannot be reached"):
            client.stats()
        events = [line["event"] for line in server.lines()]
        assert events[-1].startswith("Finished server process")
    with Index.open(path) as index:
        assert len(index) == 101


@pytest.mark.parametrize(("workers", "end"), [(1, "SIGTERM"), (2, "SIGTERM"), (1, "SIGHUP")])
def test_a_stopped_server_leaves_nothing_behind(tmp_path: Path, workers: int, end: str) -> None:
    path, temporary = create_vector_index(tmp_path / "i.serotine", 5), tmp_path / "tmp"
    temporary.mkdir()
    number = getattr(signal, end)
    # The server inherits it: under nohup it would ignore SIGHUP, as it should.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with serving(path, "--workers", workers, TMPDIR=str(temporary)) as server:
            assert len(server.client("i")) == 5
            assert list(temporary.iterdir())
            server.process.send_signal(number)
            assert server.process.wait(60) == 0
    finally:
        signal.signal(number, before)
    assert not list(temporary.iterdir())


def test_overload_is_429_and_clients_retry(tmp_path: Path) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 3000)
    long_queries = [np.concatenate(vectors(200, seed)) for seed in range(8)]
    with serving(path, "--threads", 1, "--queue", 1) as server, ThreadPoolExecutor(8) as pool:

        def search(_number: int, timeout: float) -> str:
            try:
                with server.client("i", timeout=timeout) as client:
                    client.search_batch(long_queries, 5)
            except ServerError as error:
                return error.code
            return "answered"

        # A timeout below Retry-After: no retry.
        outcomes = list(pool.map(lambda number: search(number, 0.9), range(8)))
        assert set(outcomes) <= {"answered", "overloaded"}
        assert "overloaded" in outcomes
        # With enough time, clients retry until they succeed.
        assert list(pool.map(lambda number: search(number, 60.0), range(8))) == ["answered"] * 8
        with server.client("i") as client:
            assert len(client) == 3000


def test_workers_share_an_index_and_its_writer_lock(tmp_path: Path) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 20)
    with serving(path, "--workers", 2) as server, ThreadPoolExecutor(8) as pool:
        assert len(children(server.process.pid)) == 2

        def add_and_search(thread: int) -> None:
            # A connection stays with one worker; new connections are spread over the workers.
            for round_number in range(4):
                with server.client("i") as client:
                    id_ = f"{thread}-{round_number}"
                    client.add([id_], vectors=vectors(1, 100 + thread * 10 + round_number))
                with server.client("i") as client:
                    assert client.search(vectors(1, 100 + thread * 10 + round_number)[0], 1)[0].id == id_

        for future in [pool.submit(add_and_search, thread) for thread in range(8)]:
            future.result()
        with server.client("i") as client:
            assert len(client) == 20 + 32
            client.verify()
        # Metrics cover all workers.
        added = sum(
            float(line.split()[-1])
            for line in metrics(server).splitlines()
            if line.startswith("serotine_documents_added_total")
        )
        assert added == 32
        # A dead worker is replaced; the other continues.
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        for _ in range(20):
            with server.client("i", timeout=20) as client:
                assert len(client) == 52
        wait_until(lambda: len(children(server.process.pid)) == 2)
        assert server.stop() == 0


def metrics(server: Server) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    path = tmp_path / "i.serotine"
    source = tmp_path / "one.txt"
    source.write_text("bats")
    subprocess.run([*FAKE, "index", str(source), "-o", str(path)], check=True, capture_output=True)
    # Only cli_fake.py knows an encoder of that name.
    command = [sys.executable, "-m", "serotine", "serve", str(path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "fake" in done.stderr
    assert "Traceback" not in done.stderr


def test_tokens_give_read_or_write_access(tmp_path: Path) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 5)
    environment = {"SEROTINE_READ_TOKENS": "r" * 32, "SEROTINE_WRITE_TOKENS": "w" * 32}
    with serving(path, ready_token="r" * 32, **environment) as server:
        reader, writer = server.client("i", token="r" * 32), server.client("i", token="w" * 32)
        assert len(reader) == 5
        writer.add(["new"], vectors=vectors(1))
        for client, status in ((reader, 403), (server.client("i"), 401), (server.client("i", token="x" * 32), 401)):
            with pytest.raises(ServerError) as refused:
                client.delete(["new"])
            assert refused.value.status == status
        writer.delete(["new"])


def test_what_libraries_log_is_json_too(tmp_path: Path) -> None:
    path = tmp_path / "i.serotine"
    create_vector_index(path, 3)
    with serving(path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        # The library that reads uploads logs what it refuses.
        body = b"--b\r\nContent-Disp\rosition: form-data\r\n\r\nx\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        connection.request("POST", "/v1/indexes/i/files", body, headers)
        assert connection.getresponse().status == 400
        connection.close()
        assert any("invalid character" in line["event"] for line in server.lines())


@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="schemathesis is not installed")
def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    path, root = tmp_path / "i.serotine", tmp_path / "root"
    root.mkdir()
    source = tmp_path / "one.txt"
    source.write_text("bats eat moths")
    subprocess.run([*FAKE, "index", str(source), "-o", str(path)], check=True, capture_output=True)
    # Otherwise schemathesis would request indexes that do not exist.
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.name" = "i"\n')
    with serving(path, "--root", root, program=FAKE) as server:
        checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
        command = [str(SCHEMATHESIS), "run", f"{server.url}/openapi.json", "--checks", checks, "--max-time", "20"]
        command += [
            "--phases",
            "examples,coverage,fuzzing,stateful",
            "--max-examples",
            "20",
            "--seed",
            "1",
            "--no-color",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        assert not [line for line in server.lines() if line["level"] == "error"]
        with server.client("i") as client:
            client.verify()
