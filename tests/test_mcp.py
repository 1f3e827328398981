"""`serotine mcp` as agents use it: the SDK's client, a real process and a real index."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.cli_fake import FakeEncoder

from serotine.cli import main
from serotine.index import Index, replace_index

mcp = pytest.importorskip("mcp", reason="needs the mcp extra (pip install 'serotine[mcp]')")

import anyio  # noqa: E402
import mcp.types as types  # noqa: E402
from mcp.shared.message import SessionMessage  # noqa: E402

from serotine.serving.mcp.indexes import ServedIndexes  # noqa: E402
from serotine.serving.mcp.lines import Lines  # noqa: E402
from serotine.serving.mcp.server import _call  # noqa: E402

FAKE = [sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py")]
Result = dict[str, Any]


class Agent:
    """A client whose results are plain dictionaries and text."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> tuple[Result, str]:
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content[0].text
        return result.structured_content, result.content[0].text

    async def error_of(self, tool: str, **arguments: Any) -> str:
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error
        assert result.structured_content is None
        (content,) = result.content
        assert "\n" not in content.text
        return str(content.text)


def run_agent(errors: Path, scenario: Callable[[Agent], Awaitable[None]], *arguments: object) -> None:
    """Run `scenario` with a client of ``serotine mcp``, whose standard error goes to a file."""

    async def connect() -> None:
        command = [*FAKE, "mcp", *map(str, arguments)]
        # By default the SDK does not pass PYTHONPATH on.
        server = mcp.StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
        with errors.open("w") as log:
            async with mcp.Client(mcp.stdio_client(server, errlog=log)) as client:
                await scenario(Agent(client))

    asyncio.run(connect())


PAGES = [
    "Bats hunt at night. They find moths by echo. A serotine is a late bat.",
    "A serotine is a late bat. It leaves its roost after sunset. Owls are awake too.",
    "Owls are awake too. They hear mice under snow. Their flight is silent.",
]
OVERLAPS = ("A serotine is a late bat.", "Owls are awake too.")


@pytest.fixture(scope="module")
def bats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of one file in three overlapping passages, as `serotine index` writes them, and a separate document."""
    path = tmp_path_factory.mktemp("mcp") / "bats.serotine"
    spans, at = [], 0
    for page, overlap in zip(PAGES, (*OVERLAPS, ""), strict=True):
        spans.append((at, at + len(page)))
        at += len(page) - len(overlap)
    with Index.create(path, encoder=FakeEncoder(), filterable={"lang": str}) as index:
        index.add(
            ids=[*(f"notes/bats.md#{i}" for i in range(3)), "lone"],
            texts=[*PAGES, "Mars is a red planet."],
            metadata=[
                *({"source": "notes/bats.md", "start": start, "end": end, "lang": "en"} for start, end in spans),
                {"lang": "la", "year": 1877},
            ],
        )
    return path


@pytest.fixture(scope="module")
def planets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mcp") / "planets"
    with Index.create(path, encoder=FakeEncoder()) as index:
        index.add(ids=["lone", "venus"], texts=["Mars has two moons.", "Venus is hot."])
    return path


def test_an_agent_searches_expands_and_lists(bats: Path, tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        tools = {tool.name: tool for tool in (await agent.client.list_tools()).tools}
        assert list(tools) == ["search", "expand", "list"]
        assert all(tool.annotations.read_only_hint and tool.output_schema for tool in tools.values())
        assert "max_tokens" in tools["search"].input_schema["properties"]

        result, text = await agent.call("search", query="which late bat", k=2)
        ids = [hit["id"] for hit in result["hits"]]
        assert set(ids) == {"notes/bats.md#0", "notes/bats.md#1"}
        assert (result["cut"], result["left_out"]) == (0, 0)
        assert result["hits"][0]["text"] in PAGES
        assert all(hit["text"] in text and hit["id"] in text for hit in result["hits"])
        assert result["hits"][0]["metadata"]["source"] == "notes/bats.md"

        expanded, text = await agent.call("expand", id="notes/bats.md#1", neighbors=1)
        assert [passage["id"] for passage in expanded["passages"]] == [f"notes/bats.md#{i}" for i in range(3)]
        # Text that passages share appears once.
        for overlap in OVERLAPS:
            assert text.count(overlap) == 1
        assert expanded["next_offset"] is None
        single, _ = await agent.call("expand", id="lone", neighbors=2)
        assert [passage["text"] for passage in single["passages"]] == ["Mars is a red planet."]
        assert "no neighbors" in single["note"]

        listed, text = await agent.call("list")
        (index,) = listed["indexes"]
        assert (index["name"], index["passages"], index["modes"]) == ("bats", 4, ["late", "bm25", "hybrid"])
        fields = {field["name"]: field for field in index["fields"]}
        assert fields["lang"] == {"name": "lang", "type": "str", "declared": True, "examples": ["en", "la"]}
        assert (fields["year"]["declared"], fields["year"]["examples"]) == (False, [1877])
        assert fields["start"]["examples"] == []
        assert "bats: 4 passages" in text

    run_agent(tmp_path / "errors", scenario, bats)
    assert (tmp_path / "errors").read_text() == ""


def test_filters_and_modes(bats: Path, tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        for where in ({"lang": "la"}, '{"lang": "la"}'):
            result, _ = await agent.call("search", query="bats", where=where)
            assert [hit["id"] for hit in result["hits"]] == ["lone"]
        result, _ = await agent.call("search", query="bats", where=None, k=None, index="bats.serotine")
        assert len(result["hits"]) == 4
        result, text = await agent.call("search", query="bats", where={"lang": "xx"})
        assert (result["hits"], result["left_out"]) == ([], 0)
        assert "No passage matches the filter" in text
        for mode in ("bm25", "hybrid"):
            result, _ = await agent.call("search", query="silent flight", mode=mode, k=1)
            assert result["hits"][0]["id"] == "notes/bats.md#2"
        result, text = await agent.call("search", query="zebra", mode="bm25")
        assert "search with mode late" in text

    run_agent(tmp_path / "errors", scenario, bats)


def test_hundreds_of_thousands_of_unknown_arguments_are_one_error(bats: Path) -> None:
    with closing(ServedIndexes([bats])) as served:
        started = time.monotonic()
        result = _call(served, "search", {"query": "bats"} | {f"x{i}": 1 for i in range(300_000)})
        assert time.monotonic() - started < 5
    assert result.is_error
    (content,) = result.content
    assert content.text.startswith("unknown key 'x0'; valid keys: query, k, where")
    assert content.text.endswith("(and 299,999 more)")


def test_errors_are_one_line_and_the_server_continues(bats: Path, tmp_path: Path) -> None:
    nested: dict[str, Any] = {"lang": "en"}
    for _ in range(80):
        nested = {"not": nested}

    async def scenario(agent: Agent) -> None:
        for arguments, message in [
            ({"query": " "}, "query: must not be empty"),
            ({}, "query: is required"),
            ({"query": "x", "k": 0}, "k: "),
            ({"query": "x", "k": "many"}, "k: "),
            ({"query": "x", "limit": 3}, "unknown key 'limit'; valid keys: query, k, where"),
            ({"query": "x", "mode": "fuzzy"}, "mode: "),
            ({"query": "x", "mode": "xtr"}, "mode: must be 'late', 'bm25', 'hybrid' or 'pooled', got 'xtr'"),
            (
                {"query": "x", "mode": "bm25", "min_score": 0.5},
                'min_score: needs the mode "late" or "hybrid", got "bm25"',
            ),
            ({"query": "x", "max_tokens": 5}, "max_tokens: "),
            ({"query": "x", "where": {"lang": {"~": 1}}}, "unknown operator"),
            ({"query": "x", "where": {"lang": 3}}, "where['lang']"),
            ({"query": "x", "where": "lang=en"}, "where: must be a JSON object"),
            ({"query": "x", "where": nested}, "nested at most 64 deep"),
            ({"query": "x", "index": "cats"}, "index: unknown 'cats'; available: 'bats'"),
        ]:
            assert message in await agent.error_of("search", **arguments)
        assert "id: 'x' is not in index 'bats'" in await agent.error_of("expand", id="x")
        assert "must be below the passage's length" in await agent.error_of("expand", id="lone", offset=1000)
        assert "tool: unknown 'delete'; available: search, expand, list" in await agent.error_of("delete", id="lone")
        result, _ = await agent.call("search", query="bats", k=1)
        assert len(result["hits"]) == 1

    run_agent(tmp_path / "errors", scenario, bats)
    assert (tmp_path / "errors").read_text() == ""


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "0"},
    },
}


def test_requests_are_answered_though_the_input_has_ended(bats: Path) -> None:
    # As of a shell's `serotine mcp INDEX < requests`.
    call = {"jsonrpc": "2.0", "method": "tools/call"}
    search = {"name": "search", "arguments": {"query": "late bat"}}
    cancelled = [
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}} for id_ in (3, [4], None)
    ]
    requests = [
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        *({**call, "id": id_, "params": search} for id_ in ("two", 3, 4)),
        *cancelled,
    ]
    finished = subprocess.run(
        [*FAKE, "mcp", str(bats)],
        input="\n".join(map(json.dumps, requests)) + "\n", capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    answers = {message["id"]: message for message in map(json.loads, finished.stdout.splitlines())}
    assert {1, "two", 4} <= set(answers)
    for id_ in ("two", 4):
        assert answers[id_]["result"]["structuredContent"]["hits"], answers[id_]


class SentMessages:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def send(self, item: Any, /) -> None:
        self.messages.append(item.message)

    async def aclose(self) -> None:
        """Nothing ends."""


def read_all(requests: list[dict[str, Any]], *answered: str | int) -> list[Any]:
    """Read requests to their end, of which some ids are answered; return the errors that the others got."""
    content = "".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in requests)
    lines, writer = Lines(io.BytesIO(content.encode())), SentMessages()

    async def run() -> None:
        answers = lines.answers(writer)
        async for _ in lines:
            for id_ in answered:
                await answers.send(SessionMessage(types.JSONRPCResponse(jsonrpc="2.0", id=id_, result={})))

    anyio.run(run)
    return [message for message in writer.messages if isinstance(message, types.JSONRPCError)]


def test_a_request_without_an_answer_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serotine.serving.mcp.lines._LAST_ANSWERS_SECONDS", 0.05)
    errors = read_all([{"id": id_, "method": "ping"} for id_ in ("three", 4)])
    assert [error.id for error in errors] == ["three", 4]
    assert "no answer within 0.05 seconds of the last one, and the input has ended" in errors[0].error.message


def test_ids_are_compared_as_sessions_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serotine.serving.mcp.lines._LAST_ANSWERS_SECONDS", 0.05)
    cancelled = {"method": "notifications/cancelled", "params": {"requestId": "3"}}
    assert read_all([{"id": 3, "method": "ping"}, cancelled]) == []
    not_cancelled = {"method": "notifications/cancelled", "params": {"requestId": True}}
    assert [error.id for error in read_all([{"id": 1, "method": "ping"}, not_cancelled])] == [1]
    # Of two requests with one id, each is waited for.
    twice = [{"id": 7, "method": "ping"}, {"id": 7, "method": "ping"}, {"id": 8, "method": "ping"}]
    assert [error.id for error in read_all(twice, 8)] == [7, 7]


def test_lines_that_are_not_requests(bats: Path) -> None:
    process = subprocess.Popen(
        [*FAKE, "mcp", str(bats)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(INITIALIZE) + "\n")
    process.stdin.flush()
    initialized = json.loads(process.stdout.readline())["result"]
    assert "bats (4 passages)" in initialized["instructions"]
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    surrogate = (
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"search","arguments":{"query":"\\ud800"}}}'
    )
    request = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "list", "arguments": {}}}
    call = '{"method":"tools/call","params":{"name":"expand","arguments":{"id":"d1","x":%s}},"jsonrpc":"2.0","id":%s}'
    deep, long = "[" * 5000 + "]" * 5000, json.dumps("x" * 5_000_000)
    # Their id is the last field, or the first.
    hostile = [surrogate, call % (deep, 4), call % (long, '"five"'), surrogate.replace("2,", "6,", 1) + "[" * 100_000]
    process.stdin.write("\n".join([json.dumps(ready), "not json", *hostile, "[]", "", json.dumps(request), ""]))
    process.stdin.flush()
    # Every line of standard output is a message, and every line of standard input but the empty one has its own.
    responses: dict[Any, list[Result]] = {}
    for _ in range(7):
        message = json.loads(process.stdout.readline())
        responses.setdefault(message["id"], []).append(message)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert responses[3][0]["result"]["structuredContent"]["indexes"][0]["name"] == "bats"
    errors = {id_: [error["error"]["message"] for error in found] for id_, found in responses.items() if id_ != 3}
    assert sorted(errors, key=str) == [2, 4, 6, None, "five"]
    assert [message.partition(":")[0] for messages in errors.values() for message in messages] == ["line"] * 6
    assert errors["five"] == ["line: a message must be at most 4,194,304 bytes; send less"]


def test_several_indexes(bats: Path, planets: Path, tmp_path: Path) -> None:
    async def scenario(agent: Agent) -> None:
        result, text = await agent.call("search", query="mars", k=3)
        assert {hit["index"] for hit in result["hits"][:2]} == {"bats", "planets"}
        # Both indexes have one encoder: ranked by score.
        scores = [hit["score"] for hit in result["hits"]]
        assert scores == sorted(scores, reverse=True)
        assert "lone in planets" in text
        result, _ = await agent.call("search", query="mars moons", index="planets", mode="hybrid")
        assert {hit["index"] for hit in result["hits"]} == {"planets"}
        assert "several indexes; set index to one of" in await agent.error_of("expand", id="lone")
        expanded, _ = await agent.call("expand", id="lone", index="planets")
        assert expanded["passages"][0]["text"] == "Mars has two moons."
        expanded, _ = await agent.call("expand", id="venus")
        assert expanded["index"] == "planets"
        listed, _ = await agent.call("list")
        assert [index["name"] for index in listed["indexes"]] == ["bats", "planets"]

    run_agent(tmp_path / "errors", scenario, bats, planets)


def test_the_server_sees_what_a_writer_adds(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    Index.create(path, encoder=FakeEncoder()).close()

    async def scenario(agent: Agent) -> None:
        _, text = await agent.call("search", query="bats")
        assert "The index is empty" in text
        with Index.open(path, encoder=FakeEncoder()) as index:
            index.add(ids=["a"], texts=["bats at night"])
        result, _ = await agent.call("search", query="bats")
        assert [hit["id"] for hit in result["hits"]] == ["a"]

    run_agent(tmp_path / "errors", scenario, path)


def test_an_index_may_be_replaced_and_removed(planets: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    with Index.create(path, encoder=FakeEncoder()) as index:
        index.add(ids=["a"], texts=["bats at night"])

    async def scenario(agent: Agent) -> None:
        result, _ = await agent.call("search", query="bats", index="notes")
        assert [hit["id"] for hit in result["hits"]] == ["a"]
        with replace_index(path) as building, Index.create(building, encoder=FakeEncoder()) as index:
            index.add(ids=["b"], texts=["bats by day"])
        result, _ = await agent.call("search", query="bats", index="notes")
        assert [hit["id"] for hit in result["hits"]] == ["b"]
        shutil.rmtree(path)
        assert "no such folder" in await agent.error_of("search", query="bats", index="notes")
        listed, _ = await agent.call("list")
        assert [summary["name"] for summary in listed["indexes"]] == ["planets"]

    run_agent(tmp_path / "errors", scenario, path, planets)


def test_an_index_of_vectors(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    with Index.create(path, dim=4) as index:
        index.add(ids=["a"], vectors=[FakeEncoder().encode_queries(["bats"])[0][:, :4]])

    async def scenario(agent: Agent) -> None:
        listed, _ = await agent.call("list")
        assert listed["indexes"][0]["modes"] == ["bm25"]
        assert "encoder" in await agent.error_of("search", query="bats")
        expanded, _ = await agent.call("expand", id="a")
        assert expanded["passages"][0]["text"] is None

    run_agent(tmp_path / "errors", scenario, path)


def test_a_passage_that_cannot_be_explained_is_cut_to_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    text = "Here it begins. " + "Nothing here is relevant. " * 200 + "Bats fly late."
    with Index.create(path, encoder=FakeEncoder()) as index:
        index.add(ids=["long"], texts=[text], vectors=FakeEncoder().encode_queries(["late bats"]))

    async def scenario(agent: Agent) -> None:
        result, _ = await agent.call("search", query="late bats", max_tokens=400)
        (hit,) = result["hits"]
        assert result["cut"] == 1
        assert hit["text"].startswith("Here it begins.")

    run_agent(tmp_path / "errors", scenario, path)


def test_over_http(bats: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*FAKE, "mcp", str(bats), "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    async def connect() -> None:
        async with mcp.Client(f"http://127.0.0.1:{port}/mcp") as client:
            result, _ = await Agent(client).call("search", query="late bat", k=1)
            assert len(result["hits"]) == 1

    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
        asyncio.run(connect())
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert out == ""


def test_invalid_command_lines(bats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same_name = tmp_path / "bats"
    os.symlink(bats, same_name)  # noqa: PTH211 - the same spelling on every supported version
    for arguments, status, message in [
        ([], 2, "Missing argument"),
        ([tmp_path / "none"], 1, "no such index"),
        ([bats, same_name], 1, "duplicate index name 'bats'"),
        ([bats, "--port", "0"], 2, "--port"),
    ]:
        assert main(["mcp", *map(str, arguments)]) == status
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
