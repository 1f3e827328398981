"""The MCP server: three tools, their errors as answers, over standard input and output or HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import mcp.types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from pydantic import BaseModel, ValidationError

from serotine import __version__
from serotine.errors import SerotineError
from serotine.serving.mcp.expanding import expand
from serotine.serving.mcp.listing import list_indexes
from serotine.serving.mcp.messages import (
    ExpandAnswer,
    ExpandArguments,
    ListAnswer,
    ListArguments,
    SearchAnswer,
    SearchArguments,
)
from serotine.serving.mcp.searching import search
from serotine.serving.mcp.served import Served

_LOG = logging.getLogger("serotine.mcp")
_PATH = "/mcp"


@dataclass(frozen=True, slots=True)
class _Tool:
    """One tool: what it takes and gives, and what runs it."""

    name: str
    title: str
    description: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    run: Callable[[Served, Any], tuple[BaseModel, str]]

    def described(self) -> types.Tool:
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.takes.model_json_schema(),
            output_schema=self.gives.model_json_schema(),
            annotations=types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        )


_TOOLS = {
    tool.name: tool
    for tool in (
        _Tool(
            "search",
            "Search passages",
            "Finds the passages that answer a question in the indexed text (documents, notes, code), by meaning rather "
            "than by key word. Use it before you read files or guess. Ask in a full sentence; for exact identifiers or "
            "error codes use mode bm25 or hybrid. Gives ids, scores, metadata and the passages, cut to their best "
            "sentences where they would not fit into max_tokens; expand reads one whole.",
            SearchArguments,
            SearchAnswer,
            search,
        ),
        _Tool(
            "expand",
            "Read a passage",
            "Gives a passage that search found whole, by its id, and with neighbours what stands before and after it "
            "in the same file. Use it where a passage of search is cut (end below characters), or its context "
            "matters.",
            ExpandArguments,
            ExpandAnswer,
            expand,
        ),
        _Tool(
            "list",
            "List indexes",
            "Tells which indexes there are, how many passages each holds, and which metadata fields, with example "
            "values, the argument where of search can filter on. Use it before the first filter.",
            ListArguments,
            ListAnswer,
            list_indexes,
        ),
    )
}


def serve_stdio(paths: Sequence[Path]) -> None:
    """Serves indexes over this process's standard input and output, until the input ends."""
    served = Served(paths)
    try:
        anyio.run(_over_stdio, build(served))
    finally:
        served.close()


def serve_http(paths: Sequence[Path], port: int) -> None:
    """Serves indexes over streamable HTTP at http://127.0.0.1:PORT/mcp, until interrupted."""
    served = Served(paths)
    try:
        app = build(served).streamable_http_app(streamable_http_path=_PATH, stateless_http=True, json_response=True)
        # log_config None: uvicorn's own would write to standard output.
        uvicorn.run(app, host="127.0.0.1", port=port, log_config=None)
    finally:
        served.close()


def build(served: Served) -> Server[Any]:
    """The server of some indexes, with no transport yet."""

    async def list_tools(_: object, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.described() for tool in _TOOLS.values()])

    async def call_tool(_: object, asked: types.CallToolRequestParams) -> types.CallToolResult:
        # In a thread: a search takes the processor, and other requests are to be answered meanwhile.
        return await anyio.to_thread.run_sync(_call, served, asked.name, asked.arguments or {})

    return Server(
        "serotine",
        version=__version__,
        title="Serotine",
        instructions=_instructions(served),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _over_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def _instructions(served: Served) -> str:
    names = ", ".join(f"{name} ({len(index):,} passages)" for name, index in served.chosen(None).items())
    return (
        f"Passages of the user's own indexed text, found by meaning. Indexes: {names}. Begin with search; expand an id "
        "to read on; list tells what can be filtered on. Cite passages by their ids."
    )


def _call(served: Served, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """A tool's answer. What goes wrong is an answer too: one line that says what to do; the server goes on."""
    tool = _TOOLS.get(name)
    if tool is None:
        return _failed(f"no tool is named {name!r}; there are {', '.join(_TOOLS)}")
    try:
        answer, text = tool.run(served, tool.takes.model_validate(arguments))
    except ValidationError as error:
        return _failed(_in_words(error, tool))
    except (SerotineError, ValueError, TypeError) as error:
        return _failed(str(error))
    except Exception as error:
        _LOG.exception("%s failed", name)
        return _failed(f"{name} failed ({type(error).__name__}); the server's log on its standard error says more")
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=answer.model_dump()
    )


def _failed(message: str) -> types.CallToolResult:
    line = " ".join(message.split())
    _LOG.info("%s", line)
    return types.CallToolResult(content=[types.TextContent(type="text", text=line)], is_error=True)


def _in_words(error: ValidationError, tool: _Tool) -> str:
    """Every argument that is wrong, in one line."""
    told = []
    for each in error.errors(include_url=False, include_input=False):
        name = ".".join(map(str, each["loc"]))
        if each["type"] == "extra_forbidden":
            told.append(f"{name}: no such argument; {tool.name} takes {', '.join(tool.takes.model_fields)}")
        elif each["type"] == "missing":
            told.append(f"{name}: is missing")
        else:
            reason = each["msg"].removeprefix("Value error, ")
            told.append(f"{name}: {reason[0].lower()}{reason[1:]}" if name else reason)
    return "; ".join(told)
