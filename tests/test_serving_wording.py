"""Messages over HTTP say nothing that only a program or a command can do."""

from __future__ import annotations

import ast
import re
import time
from inspect import isfunction, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.fakes import WordEncoder
from helpers.serving_cases import DIM, application, create_index

import serotine
from serotine import Encoder, Index
from serotine.cli import commands
from serotine.coverage import CoverageReport, TextCoverage, by_words_advice, unknown_fix, warn_about_report
from serotine.errors import missing_extra
from serotine.index.long_texts import truncated_fix
from serotine.index.query_checks import check_query
from serotine.index.search import SearchOptions
from serotine.ingest import Fields, ReadingLimits, SourceFile, update
from serotine.issued_warnings import collected_warnings
from serotine.model_packages import MINI, MULTI, create_multilingual
from serotine.wording import on_command_line, over_http, worded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from starlette.testclient import TestClient

# An argument of Python, a call of a class, an option, or a command of ours.
_FOREIGN = re.compile(r"\b[a-z_]+=[\"'\w]|Encoder\(|--[a-z]|`?serotine [a-z]+ ")
_SOURCE = Path(serotine.__file__).parent
# Whose messages no request can cause: they are about the command line, local files and folders, or other libraries.
_LOCAL = (
    *(
        "cli",
        "bench",
        "training",
        "evaluation",
        "integrations",
        "distributed",
        "client",
        "maxsim/torch",
        "maxsim/triton",
    ),
    *("encoders/export.py", "encoders/saving.py", "encoders/dense_pooling.py", "serving/listening.py", "serving/mcp"),
    *("ingest/listing.py", "ingest/leftovers.py", "index/creation.py", "index/hits.py", "index/hit_tables.py"),
    "index/upkeep.py",
)
# `ModelPackage.install`.
_INSTALL = "pip install {}"
_WIKI = "/v1/indexes/wiki"
_SEARCHES: dict[str, dict[str, Any]] = {
    "exact by words": {"query": "bats", "mode": "bm25", "exact": True},
    "lowest score by words": {"query": "bats", "mode": "bm25", "min_score": 0.5},
    "recall by words": {"query": "bats", "mode": "bm25", "recall": 0.9},
    "recall and candidates": {"query": "bats", "recall": 0.9, "candidates": 5},
    "vectors by words": {"query": [[0.5] * DIM], "mode": "hybrid"},
}
_FILES: dict[str, tuple[str, bytes]] = {
    "no field of the text": ("a.jsonl", b'{"_id": "1", "lang": "en"}\n'),
    "a field like the text": ("b.jsonl", b'{"_id": "1", "title": "t", "body": "bats"}\n'),
    "no column of the text": ("c.csv", b"name,age\nbat,3\n"),
    "an id that is taken": ("d.jsonl", b'{"_id": "taken", "text": "bats"}\n'),
    "an id that is taken, in a table": ("e.csv", b"id,text\ntaken,bats\n"),
    "a type that is declared": ("f.jsonl", b'{"_id": "2", "text": "bats", "year": "x"}\n'),
    "a guessed encoding": ("g.txt", "Fledermäuse jagen über dem Fluß".encode("latin-1")),
    "a long text": ("h.txt", b"bats " * 100),
    "a long line": ("i.jsonl", b'{"_id": "3", "text": "' + b"bats " * 500 + b'"}\n'),
    "a long file": ("j.json", b'[{"_id": "3", "text": "' + b"bats " * 500 + b'"}]\n'),
}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: WordEncoder(DIM))
    with application(tmp_path / "state", create_index(tmp_path / "wiki.serotine")) as client:
        yield client


@pytest.mark.parametrize("case", _SEARCHES)
def test_refused_searches(client: TestClient, case: str) -> None:
    response = client.post(f"{_WIKI}/search", json=_SEARCHES[case])
    assert response.status_code == 422
    assert not _FOREIGN.search(response.json()["error"]["message"]), response.text


def test_a_document_that_exists(client: TestClient) -> None:
    body = {"documents": [{"id": "new", "text": "bats"}]}
    assert client.post(f"{_WIKI}/documents", json=body).status_code == 201
    response = client.post(f"{_WIKI}/documents", json=body)
    message = "ids: 'new' is already in the index; set upsert to true to replace it"
    assert (response.status_code, response.json()["error"]["message"]) == (409, message)


def test_damage_and_refused_hosts_name_no_command(client: TestClient, tmp_path: Path) -> None:
    for file in (tmp_path / "wiki.serotine" / "segments").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    answers = [client.post(f"{_WIKI}/verify"), client.get("/healthz", headers={"Host": "evil.example"})]
    assert [answer.status_code for answer in answers] == [500, 421]
    for answer in answers:
        assert not _FOREIGN.search(answer.json()["error"]["message"]), answer.text


def test_a_library_that_the_server_lacks() -> None:
    assert "pip install 'serotine[onnx]'" in missing_extra("an ONNX model", "onnx")
    with over_http():
        message = missing_extra("an ONNX model", "onnx")
    assert message == "an ONNX model needs the extra [onnx]; who runs the server can correct it"


def test_each_reader_gets_words_of_their_own() -> None:
    assert worded("program", http="http", command="command") == "program"
    with on_command_line():
        assert worded("program", http="http", command="command") == "command"
        assert worded("program", http="http") == "program"
        assert by_words_advice() == "search with --mode bm25"
        assert "Encoder(" not in create_multilingual()
    with over_http():
        assert worded("program", http="http", command="command") == "http"


def test_programs_get_the_words_of_the_library(client: TestClient) -> None:
    body = _SEARCHES["exact by words"]
    response = client.post(f"{_WIKI}/search", json=body, headers={"Serotine-Client": "python"})
    assert (
        response.json()["error"]["message"]
        == 'exact: needs mode="late" or "pooled", got mode=\'bm25\'; drop one of the two'
    )


def test_jobs_are_worded_for_http(client: TestClient) -> None:
    name, content = _FILES["a field like the text"]
    job = client.post(f"{_WIKI}/files", files=[("files", (name, content))]).json()["job"]
    deadline = time.monotonic() + 20
    while (record := client.get(f"/v1/jobs/{job}").json())["state"] not in ("done", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "rename the field of the text to 'text', such as 'body'" in str(record), record


@pytest.mark.parametrize("encoding", [None, "utf-16"])
@pytest.mark.parametrize("case", _FILES)
def test_files(tmp_path: Path, case: str, encoding: str | None) -> None:
    name, content = _FILES[case]
    (tmp_path / name).write_bytes(content)
    limits = ReadingLimits(text_bytes=300, record_bytes=400, file_bytes=2000)
    with Index.create(tmp_path / "wiki", encoder=WordEncoder(DIM), filterable={"year": int}) as index:
        index.add(["taken"], ["owls"])
        with over_http():
            sources = [SourceFile.named(tmp_path / name, name)]
            report = str(update(index, sources, limits=limits, fields=Fields(encoding=encoding)).to_json())
    assert re.search("'(reason|message)': '", report.replace('"', "'")), report
    assert not _FOREIGN.search(report), report


@pytest.mark.parametrize("encoder", [MINI.name, MULTI.name])
def test_warnings_about_texts(encoder: str) -> None:
    coverage = TextCoverage(tokens=600, limit=500, unknown=((0, 9),))
    report = CoverageReport()
    report.count("texts[0]", "\u0e2a" * 9, coverage)
    messages = []
    with over_http(), collected_warnings() as collected:
        warn_about_report(report, encoder, query=False)
        messages += [unknown_fix(encoder), truncated_fix()]
        for options in (SearchOptions(), SearchOptions(mode="hybrid"), SearchOptions(exact=True)):
            messages += map(str, check_query("\u0e2a" * 9, coverage, encoder, options).warnings)
    messages += map(str, collected)
    assert len(messages) == 10
    assert not [message for message in messages if _FOREIGN.search(message) or "pip install" in message]


def _methods() -> Iterator[Callable[..., Any]]:
    """Yield the public functions and methods of the package's own classes."""
    for class_ in (Encoder, Index, SearchOptions):
        yield class_
        yield from (value for name, value in vars(class_).items() if isfunction(value) and not name.startswith("_"))


def _any(names: Iterable[str]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


def _messages(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string that is read over HTTP as it is, f-strings with {} for their values."""
    skipped: set[int] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("worded", "local_fix"):
            skipped |= {id(part) for argument in node.args for part in ast.walk(argument)}
            skipped |= {id(part) for keyword in node.keywords if keyword.arg == "command" for part in ast.walk(keyword)}
    for node in ast.walk(module):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_message_that_a_request_can_cause_is_for_programs_or_commands_only() -> None:
    options = {
        option
        for command in commands.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    arguments = {name for function in (*_methods(), Fields, ReadingLimits) for name in signature(function).parameters}
    foreign = re.compile(
        # An argument that is passed, not a row of a report such as "for k=10".
        rf"(?<![\w.\[?-])({_any(arguments - {'k'})})=|\bpip install|Encoder\(|\bIndex\.[a-z]|"
        rf"\bserotine ({_any(commands.commands)})\b|(?<![\w-])({_any(options)})(?![\w-])"
    )
    checked, found = 0, []
    for path in sorted(_SOURCE.rglob("*.py")):
        name = path.relative_to(_SOURCE).as_posix()
        if name.startswith(_LOCAL):
            continue
        for line, text in _messages(ast.parse(path.read_text(encoding="utf-8"))):
            # Markup, statements of SQL, words alone, commands of others, and what `local_fix` is given by name.
            if " " not in text.strip() or text.startswith(("<", "PRAGMA ")) or "jupyter " in text or text == _INSTALL:
                continue
            checked += 1
            if foreign.search(text):
                found.append(f"{name}:{line}: {text}")
    assert not found, "\n".join(found)
    assert checked > 500
