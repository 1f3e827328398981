"""kill -9 of whole programs: `serotine index`, and a server that indexes uploads."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

from helpers.cli_fake import FakeEncoder
from helpers.small_engine import shrink

import serotine.encoders
from serotine import Index
from serotine.cli import main
from serotine.errors import IndexDamagedError

from .outcomes import NOT_STARTED, Attack, Ended, Outcome, isolated

# A file's text or rows, by its name.
Files = Mapping[str, str]
_WORDS = ("bat", "owl", "fox", "elk", "emu", "gnu")
# More documents than the first commits of an update have.
_ROWS = 60
_MAX_KILLS = 3
_CLIENTS = 3
# Within this time of the first upload that is done.
_KILLED_WITHIN = 2.0
_PATIENCE = 60.0


def _text(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randint(1, 12))) + f" {rng.getrandbits(32)}"


def _rows(name: str, texts: list[str]) -> str:
    return "".join(json.dumps({"id": f"{name}:{i}", "text": text}) + "\n" for i, text in enumerate(texts))


def _documents(files: Files) -> dict[str, str]:
    """Return the text of every document of files, by its id."""
    documents = {}
    for name, content in files.items():
        if name.endswith(".txt"):
            documents[name] = content
        else:
            documents.update((row["id"], row["text"]) for row in map(json.loads, content.splitlines()))
    return documents


class IndexKills(Attack):
    """`serotine index` of a changed folder, killed and run again until it ends; what ended is there, and nothing else.

    After every kill the index holds each document as it was before or as the folder has it.
    """

    name = "index kills"

    def __init__(self) -> None:
        super().__init__()
        # Loads what the processes that are forked would load each.
        self._write(self.folder, _folder(random.Random(0), {}))
        _index(self.folder)
        # What the newest run that was not to be killed took.
        self._seconds = 0.0
        self._run(self.folder, None)

    def attempt(self, rng: random.Random) -> Outcome:
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        before: Files = {}
        state = "a new index"
        if rng.random() < 0.7:
            before = _folder(rng, {})
            state = "an update"
            self._write(work, before)
            if problem := _failure(self._run(work, None)):
                return Outcome("crash", state, problem)
        after = _folder(rng, before)
        self._write(work, after)
        for kill in range(rng.randint(1, _MAX_KILLS)):
            fraction = rng.uniform(0.0, 1.1)
            state = f"{state}, killed after {fraction * self._seconds * 1e3:.0f} ms"
            ended = self._run(work, fraction * self._seconds)
            if ended.killed != "kill":
                problem = _failure(ended) or self._problem(work, after, after)
                return Outcome("ended before the kill" if kill == 0 else "continued, and ended", state, problem)
            if problem := self._problem(work, before, after):
                return Outcome("damaged", state, problem)
        problem = _failure(self._run(work, None)) or self._problem(work, after, after)
        return Outcome("killed, then continued", state, problem)

    def _write(self, work: Path, files: Files) -> None:
        shutil.rmtree(work / "notes", ignore_errors=True)
        (work / "notes").mkdir(parents=True)
        for name, content in files.items():
            (work / "notes" / name).write_text(content)

    def _run(self, work: Path, kill_after: float | None) -> Ended:
        def index() -> tuple[int, str]:
            shrink()
            return _index(work)

        started = time.monotonic()
        ended = isolated(index, kill_after=kill_after)
        if kill_after is None:
            self._seconds = time.monotonic() - started
        return ended

    def _problem(self, work: Path, before: Files, after: Files) -> str:
        """Return in words what an index has that neither `before` nor `after` explains; "" if all is explained."""
        ended = isolated(lambda: _contents(work / "i.serotine"))
        if ended.value is None:
            return ended.killed or ended.trace
        stored: dict[str, str] = ended.value
        old, new = _documents(before), _documents(after)
        # Ids of text files have their folder's name.
        old, new = ({_id(id_): text for id_, text in side.items()} for side in (old, new))
        wrong = [id_ for id_, text in stored.items() if text not in (old.get(id_), new.get(id_))]
        lost = [id_ for id_ in old if id_ in new and id_ not in stored]
        return f"wrong {wrong[:5]}, lost {lost[:5]}" if wrong or lost else ""


def _index(work: Path) -> tuple[int, str]:
    """Run `serotine index` on the notes in a folder; return its status and output."""
    output = io.StringIO()
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
        contextlib.chdir(work),
        patch.object(serotine.encoders, "Encoder", FakeEncoder),
    ):
        return main(["index", "notes", "-o", "i.serotine", "--encoder", "fake"]), output.getvalue()


def _id(id_: str) -> str:
    return f"notes/{id_}" if id_.endswith(".txt") else id_


def _folder(rng: random.Random, before: Files) -> dict[str, str]:
    """Return a folder's files; some are as before, and some of those before are gone."""
    files = {name: content for name, content in before.items() if rng.random() < 0.5}
    names = [*(f"{i}.txt" for i in range(rng.randint(2, 20))), *(f"{letter}.jsonl" for letter in "ab")]
    for name in names:
        if name not in files and rng.random() < 0.9:
            is_text = name.endswith(".txt")
            files[name] = _text(rng) if is_text else _rows(name, [_text(rng) for _ in range(rng.randint(1, _ROWS))])
    return files


def _failure(ended: Ended) -> str:
    """Return why `serotine index` did not end with status 0."""
    if ended.value is None:
        return ended.killed or ended.trace
    status, output = ended.value
    return "" if status == 0 else f"status {status}: {output}"


def _contents(path: Path) -> dict[str, str]:
    """Verify an index, unless there is none yet, and return the text of every document."""
    if not path.exists():
        return {}
    with Index.open(path) as index:
        index.verify()
        return {hit.id: hit.text or "" for hit in index.documents()}


class UploadKills(Attack):
    """A server with 1 or 4 workers, killed while it indexes uploads; those whose jobs are done stay."""

    name = "upload kills"
    share = 3.0

    @classmethod
    def missing(cls) -> str:
        try:
            import helpers.serving_cases  # noqa: F401
        except BaseException as error:
            return f"the server's extra is not installed ({type(error).__name__})"
        return ""

    def attempt(self, rng: random.Random) -> Outcome:
        from helpers.serving_cases import Server

        workers = rng.choice((1, 4))
        killed = rng.choice(
            ("the server", "all of its processes", "a worker first") if workers > 1 else ("the server",)
        )
        seconds = rng.uniform(0.0, _KILLED_WITHIN)
        kind, state = f"with {workers} workers" if workers > 1 else "with 1 worker", f"{killed}, after {seconds:.2f} s"
        path = self.folder / "i.serotine"
        shutil.rmtree(path, ignore_errors=True)
        Index.create(path).close()
        try:
            server = Server(path, "--workers", workers)
        except TimeoutError as error:
            return Outcome(NOT_STARTED, f"{kind}: {state}: {error}")
        uploads = _Uploads(server.url, rng.getrandbits(32))
        try:
            problem = uploads.wait()
            if killed == "a worker first":
                uploads.ended.wait(seconds)
                _kill(_children(server.process.pid)[:1])
            uploads.ended.wait(seconds)
        finally:
            children = _children(server.process.pid)
            server.kill()
            if killed == "all of its processes":
                _kill(children)
            uploads.join()
        _wait_for_end(children)
        return Outcome(kind, f"{workers} workers: {state}", problem or self._problem(path, uploads))

    def _problem(self, path: Path, uploads: _Uploads) -> str:
        try:
            with Index.open(path) as index:
                index.verify()
                stored = {hit.id: hit.text for hit in index.documents()}
        except IndexDamagedError as error:
            return str(error)
        lost = [id_ for id_, texts in uploads.acknowledged().items() if stored.get(id_) not in texts]
        sent = uploads.sent()
        wrong = [id_ for id_, text in stored.items() if text not in sent.get(id_, ())]
        return f"lost {lost[:5]}, never sent {wrong[:5]}" if lost or wrong else ""


class _Uploads:
    """Threads that upload the same names again and again, each with other texts."""

    def __init__(self, url: str, seed: int) -> None:
        self.ended = threading.Event()
        self._url = url
        self._versions: list[list[Files]] = [[] for _ in range(_CLIENTS)]
        # The versions of each client's files whose jobs are done.
        self._done = [0] * _CLIENTS
        self._failed: list[str] = []
        self._threads = [threading.Thread(target=self._upload, args=(i, seed)) for i in range(_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait(self) -> str:
        """Wait for the first job that is done; return why there is none."""
        deadline = time.monotonic() + _PATIENCE
        while not any(self._done) and not self._failed:
            if time.monotonic() > deadline:
                return f"no upload was done in {_PATIENCE:.0f} s"
            time.sleep(0.01)
        return "; ".join(self._failed)

    def join(self) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join()

    def acknowledged(self) -> dict[str, set[str]]:
        """Return which texts each document of a done job may have: its own, or one of a later upload."""
        texts: dict[str, set[str]] = {}
        for done, versions in zip(self._done, self._versions, strict=True):
            if done:
                for id_, text in _documents(versions[done - 1]).items():
                    texts[id_] = {text, *(_documents(later)[id_] for later in versions[done:])}
        return texts

    def sent(self) -> dict[str, set[str]]:
        texts: defaultdict[str, set[str]] = defaultdict(set)
        for files in chain.from_iterable(self._versions):
            for id_, text in _documents(files).items():
                texts[id_].add(text)
        return texts

    def _upload(self, client: int, seed: int) -> None:
        import httpx

        rng = random.Random(f"{seed}/{client}")
        while not self.ended.is_set():
            files = {f"{client}-{i}.txt": _text(rng) for i in range(8)}
            files[f"{client}.jsonl"] = _rows(f"{client}.jsonl", [_text(rng) for _ in range(_ROWS)])
            self._versions[client].append(files)
            # The process that answers may be gone at any moment.
            with contextlib.suppress(httpx.HTTPError), httpx.Client(base_url=self._url, timeout=_PATIENCE) as http:
                for job in _states(http, files):
                    if job["state"] == "failed" or job["skipped"]:
                        self._failed.append(str(job))
                    elif job["state"] == "done":
                        self._done[client] = len(self._versions[client])
                    elif self.ended.wait(0.01):
                        break


def _states(http: Any, files: Files) -> Iterator[dict[str, Any]]:
    """Upload files, and yield their job until it ends."""
    response = http.post("/v1/indexes/i/files", files=[("files", (name, text)) for name, text in files.items()])
    response.raise_for_status()
    while True:
        answer = http.get(f"/v1/jobs/{response.json()['job']}")
        # Workers of a server that is gone have forgotten their jobs.
        answer.raise_for_status()
        job: dict[str, Any] = answer.json()
        yield job
        if job["state"] in ("done", "failed"):
            return


def _children(pid: int) -> list[int]:
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in map(int, pids) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_for_end(pids: list[int]) -> None:
    """Wait until workers have noticed that their supervisor is gone."""
    deadline = time.monotonic() + _PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
