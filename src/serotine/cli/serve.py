"""``serotine serve``: serve indexes over HTTP."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serotine.cli.encoder_options import Command, warning_lines
from serotine.errors import SerotineError, missing_extra

if TYPE_CHECKING:
    from serotine.distributed import ShardedIndex
    from serotine.index import Settings
    from serotine.text_encoder import TextEncoder

_MEGABYTE = 1 << 20


def _megabytes(option: str, default: int, description: str) -> Callable[[Command], Command]:
    """Return the option of a limit in megabytes."""
    return click.option(option, default=default, show_default=True, type=click.IntRange(1, 1 << 20), help=description)


start_timeout_option = click.option(
    "--start-timeout",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Maximum wait for room on the Ray cluster.",
)


@click.command()
@click.argument("indexes", nargs=-1, type=click.Path(path_type=Path), metavar="INDEX...")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Serve every index in this folder, and let writers create others in it.",
)
@click.option(
    "--ray",
    "urls",
    multiple=True,
    metavar="URL",
    help="An index in shards, which this process opens on a Ray cluster; repeatable.",
)
@click.option("--address", metavar="ADDRESS", help="Of the Ray cluster.  [default: the one found, else this machine]")
@click.option(
    "--replicas", default=1, show_default=True, type=click.IntRange(1, 100), help="Processes per shard on the cluster."
)
@start_timeout_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option(
    "--ray-serve",
    is_flag=True,
    help="With --ray: run the server on Ray Serve, in --workers processes of the cluster behind Ray's HTTP proxies.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes.")
@click.option(
    "--tokens",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Bearer tokens, one per line: 'read TOKEN' or 'write TOKEN'. Also read from SEROTINE_READ_TOKENS and "
    "SEROTINE_WRITE_TOKENS, separated by commas. Without tokens, everyone who reaches the server has all rights.",
)
@click.option(
    "--allow-anyone",
    is_flag=True,
    help="Listen beyond this machine without tokens: everyone who reaches it has all rights.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host name that requests may use, beside localhost and addresses; repeatable.",
)
@click.option("--read-only", is_flag=True, help="Refuse every change.")
@click.option("--max-k", default=1000, show_default=True, type=click.IntRange(1, 1_000_000), help="Maximum hits.")
@click.option(
    "--max-batch",
    default=1000,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Maximum queries in a request.",
)
@_megabytes("--max-body", 64, "Maximum megabytes of request.")
@_megabytes("--max-upload", 1024, "Maximum megabytes of upload.")
@_megabytes("--max-answer", 64, "Maximum megabytes of a response.")
@_megabytes("--max-text", 8, "Maximum megabytes of the text of an uploaded document.")
@_megabytes(
    "--max-record",
    64,
    "Maximum megabytes of an uploaded line, row or message, and of a file of JSON, HTML or other text.",
)
@click.option(
    "--max-expansion",
    default=100,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Maximum size of the texts of an uploaded file of records, in times its own, where it is above --max-record.",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1, 86_400),
    help="Deadline of searches, in seconds.",
)
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="Requests processed at a time, per process.  [default: 2 per core]"
)
@click.option(
    "--queue",
    default=64,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    help="Requests that may wait, per process; more are refused with 429.",
)
@click.option(
    "--query-cache",
    default=256,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    help="Queries whose vectors are cached.",
)
@click.option("--log-queries", is_flag=True, help="Write queries to the log, which otherwise has none.")
def serve(
    indexes: tuple[Path, ...],
    root: Path | None,
    urls: tuple[str, ...],
    address: str | None,
    replicas: int,
    start_timeout: float,
    host: str,
    port: int,
    ray_serve: bool,
    workers: int,
    tokens: Path | None,
    allow_anyone: bool,
    hosts: tuple[str, ...],
    read_only: bool,
    max_k: int,
    max_batch: int,
    max_body: int,
    max_upload: int,
    max_answer: int,
    max_text: int,
    max_record: int,
    max_expansion: int,
    timeout: float,
    threads: int | None,
    queue: int,
    query_cache: int,
    log_queries: bool,
) -> int:
    """Serve indexes over HTTP: search, explain, add and delete; the API is described at /docs.

    It listens on this machine only; other addresses of --host need tokens. The log, on standard error, has one JSON
    object per line. On SIGTERM and Ctrl-C, running requests finish.
    """
    if not (indexes or urls) and root is None:
        raise click.UsageError("name an index, or a --root folder of indexes", click.get_current_context())
    _check_ray_options(ray_serve, bool(urls), bool(indexes) or root is not None, workers, port, read_only)
    try:
        from serotine.ingest import ReadingLimits
        from serotine.serving import Limits, ServerSettings, read_tokens
        from serotine.serving import serve as run_server
    except ImportError:
        raise SerotineError(missing_extra("the server", "serve")) from None

    bearer_tokens = read_tokens(tokens)
    if not bearer_tokens and not allow_anyone and not _is_loopback(host):
        raise click.UsageError(
            f"--host: {host} can be reached from other machines, and there are no tokens; pass --tokens FILE or "
            "--allow-anyone",
            click.get_current_context(),
        )
    names = _by_name(indexes)
    shards = _shards_by_name(urls, names, address, replicas, start_timeout)
    # Pages of other sites have no token. Without tokens, only the host name in the request identifies them.
    allowed_hosts = None if bearer_tokens and not hosts else hosts
    with tempfile.TemporaryDirectory(prefix="serotine-serve-", ignore_cleanup_errors=True) as state:
        settings = ServerSettings(
            indexes=names,
            shards=shards,
            state=Path(state),
            root=None if root is None else root.absolute(),
            tokens=bearer_tokens,
            hosts=allowed_hosts,
            read_only=read_only,
            limits=Limits(
                body=max_body * _MEGABYTE,
                upload=max_upload * _MEGABYTE,
                answer=max_answer * _MEGABYTE,
                k=max_k,
                batch=max_batch,
                threads=threads or Limits().threads,
                queue=queue,
                seconds=timeout,
            ),
            reading=ReadingLimits(
                text_bytes=max_text * _MEGABYTE, record_bytes=max_record * _MEGABYTE, expansion=max_expansion
            ),
            query_cache=query_cache,
            log_queries=log_queries,
        )
        if ray_serve:
            from serotine.distributed import run_on_ray_serve
            from serotine.serving import create_replica, free_address

            return run_on_ray_serve(
                partial(create_replica, settings),
                address=address,
                host=host,
                port=port,
                every_node=not _is_loopback(host),
                replicas=workers,
                # More than the server lets wait, so that it is the one to refuse.
                requests=2 * (settings.limits.threads + queue),
                on_ready=partial(click.echo, f"Open {free_address(host, port)}  (Ctrl-C stops the server)"),
            )
        return run_server(settings, host=host, port=port, workers=workers)


def _check_ray_options(ray_serve: bool, shards: bool, folders: bool, workers: int, port: int, read_only: bool) -> None:
    """Raise UsageError where options of `serve` exclude each other."""
    problem = ""
    if not ray_serve:
        if shards and workers > 1:
            problem = (
                f"--workers: must be 1 for an index in shards, got {workers}; its shards have processes of their own. "
                "More server processes need --ray-serve"
            )
    elif not shards:
        problem = "--ray-serve: needs an index in shards; name it with --ray"
    elif folders:
        problem = "--ray-serve: serves indexes in shards only; serve those of folders from a server of their own"
    elif workers > 1 and not read_only:
        problem = f"--workers: must be 1 unless --read-only, got {workers}; one process may change an index in shards"
    elif port == 0:
        problem = "--port: must be above 0 with --ray-serve, got 0"
    if problem:
        raise click.UsageError(problem, click.get_current_context())


def _by_name(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Return the indexes by the names they are served under, after reading their settings.

    Raises:
        SerotineError: a path is not an index, or two have the same name.
    """
    from serotine.index import read_settings
    from serotine.serving import index_name

    indexes: dict[str, Path] = {}
    for path in paths:
        read_settings(path)
        name = index_name(path)
        if name in indexes:
            raise SerotineError(f"{path}: duplicate index name {name!r}, as {indexes[name]}; rename one of the folders")
        indexes[name] = path.absolute()
    return indexes


@dataclass(frozen=True, slots=True)
class _Shards:
    """See `serotine.serving.ShardsOpener`."""

    url: str
    address: str | None
    replicas: int
    start_timeout: float

    def settings(self) -> Settings:
        from serotine.distributed import shard_settings

        return shard_settings(self.url)

    def open(self, encoder: TextEncoder | None) -> ShardedIndex:
        from serotine.distributed import ShardedIndex

        with warning_lines():
            return ShardedIndex.open(
                self.url,
                address=self.address,
                replicas=self.replicas,
                start_timeout=self.start_timeout,
                encoder=encoder,
            )


def _shards_by_name(
    urls: tuple[str, ...], names: Mapping[str, Path], address: str | None, replicas: int, start_timeout: float
) -> dict[str, _Shards]:
    """Return the indexes in shards by the names they are served under, after reading their settings.

    Raises:
        SerotineError: there is no index in shards at a URL, two have the same name, or Ray is not installed.
    """
    from serotine.serving import index_name

    shards: dict[str, _Shards] = {}
    for url in urls:
        name = index_name(Path(url))
        if name in names or name in shards:
            raise SerotineError(f"{url}: duplicate index name {name!r}; serve it from a server of its own")
        shards[name] = _Shards(url, address, replicas, start_timeout)
        shards[name].settings()
    if shards:
        from serotine.distributed import connected_ray

        # Here, because Ray replaces signal handlers, as the server does later.
        connected_ray(address)
    return shards


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
