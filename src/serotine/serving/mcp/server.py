"""The MCP server: three tools over standard input and output or HTTP; errors are returned as results."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import click
import mcp.types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from pydantic import BaseModel, ValidationError

from serotine import __version__
from serotine.errors import SerotineError, unknown_key
from serotine.serving.listening import address, listen
from serotine.serving.mcp.expand import expand
from serotine.serving.mcp.indexes import ServedIndexes
from serotine.serving.mcp.lines import Lines
from serotine.serving.mcp.listing import list_indexes
from serotine.serving.mcp.schemas import (
    ExpandArguments,
    ExpandResult,
    ListArguments,
    ListResult,
    SearchArguments,
    SearchResult,
)
from serotine.serving.mcp.search import search
from serotine.serving.mistakes import mistake_message
from serotine.wording import over_http

_LOG = logging.getLogger("serotine.mcp")
_HOST = "127.0.0.1"
_PATH = "/mcp"


@dataclass(frozen=True, slots=True)
class _Tool:
    """One tool: its arguments, its result, and the function that runs it."""

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    result: type[BaseModel]
    run: Callable[[ServedIndexes, Any], tuple[BaseModel, str]]

    def definition(self) -> types.Tool:
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.arguments.model_json_schema(),
            output_schema=self.result.model_json_schema(),
            annotations=types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        )


_TOOLS = {
    tool.name: tool
    for tool in (
        _Tool(
            "search",
            "Search passages",
            "Find passages that answer a question in the indexed text (documents, notes, code), by meaning rather than "
            "by keyword. Use it before reading files or guessing. Ask in a full sentence; for exact identifiers or "
            "error codes use mode bm25 or hybrid. Returns ids, scores, metadata and the passages, cut to their best "
            "sentences where they would not fit into max_tokens; expand returns one whole.",
            SearchArguments,
            SearchResult,
            search,
        ),
        _Tool(
            "expand",
            "Read a passage",
            "Return a whole passage by its id from search, and with neighbors the text around it in the same "
            "file. Use it where search returned a cut passage (end below characters), or where context matters.",
            ExpandArguments,
            ExpandResult,
            expand,
        ),
        _Tool(
            "list",
            "List indexes",
            "List the indexes, how many passages each has, and the metadata fields, with example values, that search's "
            "argument where can filter on. Use it before the first filter.",
            ListArguments,
            ListResult,
            list_indexes,
        ),
    )
}


def serve_stdio(paths: Sequence[Path]) -> None:
    """Serve indexes over this process's standard input and output, until the input ends."""
    served = ServedIndexes(paths)
    try:
        anyio.run(_run_over_stdio, create_server(served))
    finally:
        served.close()


def serve_http(paths: Sequence[Path], port: int) -> None:
    """Serve indexes over streamable HTTP at http://127.0.0.1:PORT/mcp, until interrupted.

    Raises:
        SerotineError: the port is in use, or an index cannot be opened.
    """
    listening = listen(_HOST, port)
    served = ServedIndexes(paths)
    try:
        app = create_server(served).streamable_http_app(
            streamable_http_path=_PATH, stateless_http=True, json_response=True
        )
        with suppress(KeyboardInterrupt):
            click.echo(f"Serving MCP at {address(listening, _HOST)}{_PATH}; Ctrl-C stops.", err=True)
            # log_config None: uvicorn's default would write to standard output.
            uvicorn.Server(uvicorn.Config(app, log_config=None)).run(sockets=[listening])
    finally:
        listening.close()
        served.close()


def create_server(served: ServedIndexes) -> Server[Any]:
    """Create a server for indexes, without a transport."""

    async def list_tools(_: object, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.definition() for tool in _TOOLS.values()])

    async def call_tool(_: object, request: types.CallToolRequestParams) -> types.CallToolResult:
        # In a thread: a search is CPU-bound, and other requests must be served meanwhile.
        return await anyio.to_thread.run_sync(_call, served, request.name, request.arguments or {})

    return Server(
        "serotine",
        version=__version__,
        title="Serotine",
        instructions=_instructions(served),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _run_over_stdio(server: Server[Any]) -> None:
    asyncio.get_running_loop().set_exception_handler(_report)
    lines = Lines(sys.stdin.buffer)
    async with stdio_server(lines) as (reading, writing):  # type: ignore[arg-type]  # of a file, it iterates over lines
        await server.run(reading, lines.answers(writing), server.create_initialization_options())


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what a task raised, except Ctrl-C: that ends the loop wherever it is, and so also the task it was in."""
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        error = error.split(KeyboardInterrupt)[1]
    elif isinstance(error, KeyboardInterrupt):
        error = None
    if error is not None or "exception" not in context:
        loop.default_exception_handler(context)


def _instructions(served: ServedIndexes) -> str:
    names = ", ".join(f"{name} ({len(index):,} passages)" for name, index in served.select(None).items())
    return (
        f"Search the user's own indexed text by meaning. Indexes: {names}. Start with search; expand an id to read "
        "further; list shows the fields to filter on. Cite passages by their ids."
    )


def _call(served: ServedIndexes, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """Return a tool's result; an error is a result too, one line that says what to do."""
    tool = _TOOLS.get(name)
    if tool is None:
        return _error_result(f"tool: unknown {name!r}; available: {', '.join(_TOOLS)}")
    # Before pydantic builds an error for every one of them.
    unknown = [key for key in arguments if key not in tool.arguments.model_fields]
    if unknown:
        more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
        return _error_result(f"{unknown_key(unknown[0], tool.arguments.model_fields)}{more}")
    try:
        # Agents read the arguments of a tool as JSON, as clients over HTTP read those of a request.
        with over_http():
            result, text = tool.run(served, tool.arguments.model_validate(arguments))
    except ValidationError as error:
        return _error_result(_validation_message(error))
    except (SerotineError, ValueError, TypeError) as error:
        return _error_result(str(error))
    except Exception as error:
        _LOG.exception("%s failed", name)
        return _error_result(f"{name} failed ({type(error).__name__}); the log on standard error has the details")
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=result.model_dump()
    )


def _error_result(message: str) -> types.CallToolResult:
    line = " ".join(message.split())
    _LOG.info("%s", line)
    return types.CallToolResult(content=[types.TextContent(type="text", text=line)], is_error=True)


def _validation_message(error: ValidationError) -> str:
    """Return one line about every invalid argument."""
    mistakes = error.errors(include_url=False)
    return "; ".join(mistake_message(".".join(map(str, mistake["loc"])), mistake) for mistake in mistakes)
