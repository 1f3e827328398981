"""``serotine serve``: indexes over HTTP."""

from __future__ import annotations

import ipaddress
import tempfile
from pathlib import Path

import click

from serotine.errors import SerotineError

_MEGABYTE = 1 << 20


@click.command()
@click.argument("indexes", nargs=-1, type=click.Path(path_type=Path), metavar="INDEX...")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Serve every index in this folder, and let writers create others there.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes.")
@click.option(
    "--tokens",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Bearer tokens, one a line: 'read TOKEN' or 'write TOKEN'. Those in SEROTINE_READ_TOKENS and "
    "SEROTINE_WRITE_TOKENS, separated by commas, count too. Without any, everyone who reaches the server may do all.",
)
@click.option(
    "--allow-anyone", is_flag=True, help="Listen beyond this machine without tokens: whoever reaches it may do all."
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that requests may call the server by, beside localhost and addresses; repeatable.",
)
@click.option("--read-only", is_flag=True, help="Refuse every change.")
@click.option("--max-k", default=1000, show_default=True, type=click.IntRange(1, 1_000_000), help="Hits of a query.")
@click.option(
    "--max-batch", default=1000, show_default=True, type=click.IntRange(1, 1_000_000), help="Queries in one request."
)
@click.option(
    "--max-body", default=64, show_default=True, type=click.IntRange(1, 1 << 20), help="Megabytes of a request."
)
@click.option(
    "--max-upload", default=1024, show_default=True, type=click.IntRange(1, 1 << 20), help="Megabytes of an upload."
)
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(0.1, 86_400), help="Seconds for a search."
)
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="Requests worked on at a time, a process.  [default: 2 a core]"
)
@click.option(
    "--queue",
    default=64,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    help="Requests that may wait, a process; more are refused with 429.",
)
@click.option(
    "--query-cache",
    default=256,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    help="Questions whose vectors are remembered.",
)
@click.option("--log-queries", is_flag=True, help="Write questions to the log, which otherwise holds none.")
def serve(
    indexes: tuple[Path, ...],
    root: Path | None,
    host: str,
    port: int,
    workers: int,
    tokens: Path | None,
    allow_anyone: bool,
    hosts: tuple[str, ...],
    read_only: bool,
    max_k: int,
    max_batch: int,
    max_body: int,
    max_upload: int,
    timeout: float,
    threads: int | None,
    queue: int,
    query_cache: int,
    log_queries: bool,
) -> int:
    """Serve indexes over HTTP: search, explain, add and delete; the API is described at /docs.

    It listens on this machine only, unless --host says otherwise, which needs tokens. The log, on standard error, has
    one JSON object a line. SIGTERM lets the requests that run end.
    """
    if not indexes and root is None:
        raise click.UsageError("name an index, or a --root folder of indexes", click.get_current_context())
    try:
        from serotine.serving import Limits, ServerSettings, read_tokens
        from serotine.serving import serve as run_server
    except ImportError as error:
        raise SerotineError(f"the server needs {error.name}; install it with: pip install 'serotine[serve]'") from None

    known = read_tokens(tokens)
    if not known and not allow_anyone and not _is_loopback(host):
        raise click.UsageError(
            f"--host: {host} can be reached from other machines, and there are no tokens; name a file of --tokens, "
            "or pass --allow-anyone",
            click.get_current_context(),
        )
    # A token is what another site's page lacks. Without tokens the name in the request is all that tells it.
    allowed = None if known and not hosts else hosts
    with tempfile.TemporaryDirectory(prefix="serotine-serve-", ignore_cleanup_errors=True) as state:
        settings = ServerSettings(
            indexes=_named(indexes),
            state=Path(state),
            root=None if root is None else root.absolute(),
            tokens=known,
            hosts=allowed,
            read_only=read_only,
            limits=Limits(
                body=max_body * _MEGABYTE,
                upload=max_upload * _MEGABYTE,
                k=max_k,
                batch=max_batch,
                threads=threads or Limits().threads,
                queue=queue,
                seconds=timeout,
            ),
            query_cache=query_cache,
            log_queries=log_queries,
        )
        return run_server(settings, host=host, port=port, workers=workers)


def _named(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Indexes by the names they will be served under, each of them looked at.

    Raises:
        SerotineError: one is no index, or two have one name.
    """
    from serotine.index import read_settings
    from serotine.serving import index_name

    named: dict[str, Path] = {}
    for path in paths:
        read_settings(path)
        name = index_name(path)
        if name in named:
            raise SerotineError(f"{path}: would be served as {name!r}, as {named[name]} is; rename one of the folders")
        named[name] = path.absolute()
    return named


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
