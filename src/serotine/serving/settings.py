"""The settings of a server: one frozen value, passed to every worker process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serotine.ingest import ReadingLimits
from serotine.serving.bearer_tokens import Token
from serotine.serving.open_index import ShardsOpener


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request, and on the requests in progress.

    Attributes:
        body: bytes of a request's body.
        upload: bytes of an upload.
        answer: bytes of a response of documents, hits or vectors.
        k: hits of one query; `candidates` may be a hundred times as many.
        batch: queries, or texts to encode, in one request.
        documents: documents to add, get or delete in one request.
        tokens: vectors of one query.
        threads: requests processed at a time, in one process; the rest wait.
        queue: requests that may wait; more are refused with 429.
        seconds: time limit of a request, after which the response is 504.
        write_seconds: the same for requests that change an index.
        lock_seconds: how long a change waits for the index's writer lock before the response is 503.
        drain_seconds: how long a stopping server waits for requests in progress.
    """

    body: int = 64 << 20
    upload: int = 1 << 30
    answer: int = 64 << 20
    k: int = 1000
    batch: int = 1000
    documents: int = 10_000
    tokens: int = 1024
    threads: int = field(default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)))
    queue: int = 64
    seconds: float = 30.0
    write_seconds: float = 600.0
    lock_seconds: float = 10.0
    drain_seconds: float = 30.0

    def check(self, name: str, count: int, limit: int) -> None:
        """Refuse a count beyond a limit.

        Raises:
            ValueError: `count` is above `limit`.
        """
        if count > limit:
            raise ValueError(f"{name}: must be at most {limit:,} in one request, got {count:,}")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """All settings of a server.

    Attributes:
        indexes: folders of indexes, by the name they are served under.
        state: a folder of this server alone: jobs, uploads, metrics of its processes.
        shards: indexes in shards, by name; of a server with one process.
        root: the folder where indexes are served from and created in, or None.
        tokens: bearer tokens with their scopes; with none, everyone may do everything.
        hosts: host names accepted besides localhost and addresses; None accepts any.
        read_only: refuse every change.
        limits: see `Limits`.
        reading: limits of what is read of an uploaded file.
        query_cache: queries whose vectors are cached.
        log_queries: write queries to the log.
    """

    indexes: dict[str, Path]
    state: Path
    root: Path | None = None
    shards: Mapping[str, ShardsOpener] = field(default_factory=dict)
    tokens: tuple[Token, ...] = ()
    hosts: tuple[str, ...] | None = ()
    read_only: bool = False
    limits: Limits = field(default_factory=Limits)
    reading: ReadingLimits = field(default_factory=ReadingLimits)
    query_cache: int = 256
    log_queries: bool = False
