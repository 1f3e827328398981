"""``serotine mcp``: serve indexes as tools for agents."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path

import click

from serotine.errors import SerotineError, missing_extra


@click.command()
@click.argument("indexes", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="INDEX...")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Serve over streamable HTTP at http://127.0.0.1:PORT/mcp instead of standard input and output.",
)
@click.option("--verbose", is_flag=True, help="Log every failed call, on standard error.")
def mcp(indexes: tuple[Path, ...], port: int | None, verbose: bool) -> None:
    """Serve INDEX... to agents over the Model Context Protocol: search, expand, list.

    An agent starts this command and communicates over standard input and output; docs/mcp.md has its configuration.
    """
    try:
        from serotine.serving import serve_mcp_http, serve_mcp_stdio
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "anyio", "pydantic", "uvicorn"):
            raise
        raise SerotineError(missing_extra("an MCP server", "mcp")) from None
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if port is not None:
        serve_mcp_http(indexes, port)
        return
    if sys.stdin.isatty():
        click.echo("Serving MCP on standard input and output, for an agent to start; Ctrl-C stops.", err=True)
    with suppress(KeyboardInterrupt):
        serve_mcp_stdio(indexes)
