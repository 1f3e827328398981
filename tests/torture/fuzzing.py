"""Fuzzing: hostile bytes and values at every place where they enter; allowed are a result and an error in words."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from serotine.encoders import Encoder
from serotine.errors import EncoderError, InputFileError, SerotineError
from serotine.ingest.fields import STANDARD
from serotine.ingest.file_types import RECORD_READERS, TEXT_READERS
from serotine.ingest.rows import Row
from serotine.model_packages import MINI

from .found import Found
from .outcomes import Attack, Outcome, isolated
from .structured import SUFFIXES, restructured
from .workload import ENCODER, make_template, opened

CORPUS = Path(__file__).with_name("corpus")
_SECONDS = 30.0
_STRUCTURE = 1 << 13
# What reading one file may take, beside what the process has before.
_MEMORY = 1 << 30
_PIECES = (
    b"\0", b"\xff\xfe", b"<", b">", b"&#x110000;", b"]]>", b"<!--", b'"', b"\\u0000", b"[" * 300, b"{" * 300, b"\r",
    b"9" * 400, b"NaN", b"\xed\xa0\x80", b"%s", b"../", b"<a " * 200, b",,,," * 50, b"\x1b[2J",
)  # fmt: skip
_VALUES = (
    None, True, 0, -1, 1 << 70, 1.5, float("nan"), float("inf"), "", "a", "\0", "\ud800", "'; DROP TABLE documents",
    [], {}, [[]], {"a": {}}, "x" * 10_000, [None] * 200,
)  # fmt: skip
_KEYS = ("n", "kind", "missing", "$or", "and", "or", "not", ">=", "in", "", "a.b", "\0", "'", "between", "contains")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one to eight changes."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        position = rng.randrange(len(content) + 1)
        way = rng.randrange(5)
        if way == 0 and position < len(content):
            content[position] ^= 1 << rng.randrange(8)
        elif way == 1:
            del content[position : position + rng.choice((1, 4, 64))]
        elif way == 2:
            content[position:position] = rng.choice(_PIECES) * rng.choice((1, 1, 40))
        elif way == 3:
            start = rng.randrange(len(content) + 1)
            content[position:position] = content[start : start + 64] * rng.choice((1, 20))
        else:
            content[position : position + 4] = rng.randbytes(4)
    return bytes(content)


def hostile(rng: random.Random, depth: int = 0) -> Any:
    """Return a value as a stranger may send one."""
    if depth < 4 and rng.random() < 0.6:
        if rng.random() < 0.75:
            return {rng.choice(_KEYS): hostile(rng, depth + 1) for _ in range(rng.randint(1, 3))}
        return [hostile(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return rng.choice(_VALUES)


class Fuzzing(Attack):
    """Files of every reader, encoders, filters, metadata and JSON bodies."""

    name = "fuzzing"

    def __init__(self) -> None:
        super().__init__()
        isolated(lambda: make_template(self.folder / "x", "grown"))
        self.corpus = sorted(CORPUS.iterdir())
        self.structured = [file for file in self.corpus if file.suffix in SUFFIXES]
        self._found = Found(self.name)
        self._known: set[str] = set()
        self.targets: list[Callable[[random.Random], tuple[str, str]]] = [self._filter, self._metadata]
        try:
            import fastapi  # noqa: F401

            self.targets.append(self._request)
        except ImportError:
            pass
        self._model = MINI.folder()
        if self._model is not None:
            self.targets.append(self._encoder)

    def replay(self) -> list[Outcome]:
        """Read the files of earlier runs."""
        outcomes = []
        for data in self._found:
            name, _, content = data.partition(b"\n")
            outcomes.append(self._read(name.decode(), content))
        return outcomes

    def attempt(self, rng: random.Random) -> Outcome:
        chosen = rng.randrange(len(self.targets) + 2)
        if chosen == 0:
            file = rng.choice(self.corpus)
            return self._read(file.name, mutated(file.read_bytes(), rng))
        if chosen == 1:
            file = rng.choice(self.structured)
            return self._read(file.name, restructured(file.name, file.read_bytes(), rng), kind="contents")
        target = self.targets[chosen - 2]
        name = target.__name__.strip("_")
        ended = isolated(lambda: target(rng), timeout=_SECONDS)
        if ended.value is None:
            return Outcome(f"{name}: other error", name, ended.killed or ended.trace)
        kind, problem = ended.value
        return Outcome(f"{name}: {kind}", name, problem)

    def _read(self, name: str, data: bytes, *, kind: str = "reads") -> Outcome:
        ended = isolated(lambda: _reads(name, data, self.folder), timeout=_SECONDS)
        result, problem, message = ended.value or ("other error", ended.killed or ended.trace, "")
        # The words of a message, which say what was reached; values in it differ.
        words = f"{Path(name).suffix} {re.sub(r'[^a-z ]+', '', message.replace(name, ''))}"
        if problem or words not in self._known:
            self._known.add(words)
            self._found.add(name.encode() + b"\n" + data)
        return Outcome(f"{kind}: {result}", f"reads {name}", problem)

    def _filter(self, rng: random.Random) -> tuple[str, str]:
        with opened(self.folder / "x", read_only=True) as index:
            where = hostile(rng)
            try:
                index.ids(where=where)
                index.search("bat", where=where)
            except (ValueError, TypeError):
                return "refused", ""
        return "answered", ""

    def _metadata(self, rng: random.Random) -> tuple[str, str]:
        path = self.folder / "written"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / "x", path)
        with opened(path) as index:
            value = hostile(rng)
            try:
                index.add(ids=["hostile"], texts=["text"], metadata=[value])
            except (ValueError, TypeError):
                return ("refused", "") if "hostile" not in index else ("refused", "a refused document is there")
            index.verify()
            assert index.ids(where={"n": None, "kind": "nothing"}) == []
            json.dumps(index["hostile"].metadata)
        return "stored", ""

    def _encoder(self, rng: random.Random) -> tuple[str, str]:
        folder = self.folder / "encoder"
        shutil.rmtree(folder, ignore_errors=True)
        assert self._model is not None
        shutil.copytree(self._model, folder)
        file = rng.choice(sorted(folder.iterdir()))
        data = file.read_bytes()
        # Where the structure is: the beginning.
        file.write_bytes(mutated(data[:_STRUCTURE], rng) + data[_STRUCTURE:])
        if file.suffix == ".json" and rng.random() < 0.5:
            values = json.loads(data)
            values[rng.choice(sorted(values))] = hostile(rng)
            file.write_text(json.dumps(values))
        try:
            (vectors,) = Encoder(folder).encode_documents(["a bat at night"])
        except EncoderError as error:
            return "refused", f"{file.name}: more than one line: {error}" if "\n" in str(error) else ""
        return "loaded", "" if np.isfinite(vectors).all() else f"{file.name}: vectors are not finite"

    def _request(self, rng: random.Random) -> tuple[str, str]:
        from helpers.serving_cases import application

        import serotine.encoders

        # In this forked process: the index names an encoder that only the tests have.
        serotine.encoders.load_recorded = lambda *_: ENCODER
        body: Any = hostile(rng)
        if rng.random() < 0.7:
            body = {"query": rng.choice(("bat", *_VALUES)), rng.choice(("k", "where", "mode", "offset")): body}
        data = json.dumps(body).encode() if rng.random() < 0.8 else mutated(b'{"query": "bat", "k": 3}', rng)
        method, path = rng.choice(
            (
                ("POST", "/search"),
                ("POST", "/documents"),
                ("DELETE", "/documents"),
                ("PATCH", "/documents"),
                ("POST", ""),
            )
        )
        with application(self.folder / "state", self.folder / "x") as client:
            response = client.request(
                method, f"/v1/indexes/x{path}", content=data, headers={"content-type": "application/json"}
            )
        if response.status_code == 500:
            return "500", f"{method} {path} {data[:300]!r}: {response.text[:500]}"
        return f"{response.status_code // 100}xx", ""


def _reads(name: str, data: bytes, folder: Path) -> tuple[str, str, str]:
    """Read a file in a process of its own; return what became of it, why that is wrong, and the message."""
    read = _reads_records if name.startswith("records") else _reads_text
    if name == "records.parquet":
        # pyarrow reserves more than the limit for its pool and its threads, as many as there are at that moment.
        read(name, (CORPUS / name).read_bytes(), folder)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(name, data, folder)
        except InputFileError as error:
            return "refused", "" if "\n" not in str(error) else f"{name}: more than one line: {error}", str(error)
        except SerotineError as error:
            return "refused", f"{name}: not an InputFileError: {error}", str(error)


def _reads_text(name: str, data: bytes, _folder: Path) -> tuple[str, str, str]:
    extract = TEXT_READERS[Path(name).suffix](data, name)
    extract.text.encode()
    json.dumps(extract.metadata, allow_nan=False, ensure_ascii=False).encode()
    return "read", "", ""


def _reads_records(name: str, data: bytes, folder: Path) -> tuple[str, str, str]:
    file = folder / name
    file.write_bytes(data)
    bad: list[str] = []
    for row in RECORD_READERS[file.suffix](file, name, STANDARD):
        if isinstance(row, Row):
            json.dumps(dict(row.fields), allow_nan=False, ensure_ascii=False).encode()
        else:
            bad.append(str(row))
    problem = next((f"{name}: more than one line: {message}" for message in bad if "\n" in message), "")
    return "read", problem, bad[0] if bad else ""
