"""What a server is told when it starts: one frozen value, handed to every worker process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from serotine.serving.tokens import Token


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask, and how much may be under way.

    Attributes:
        body: bytes of a request's body.
        upload: bytes of an upload.
        k: hits of one query; `candidates` may be a hundred times as many.
        batch: queries, or texts to encode, in one request.
        documents: documents to add, get or delete in one request.
        tokens: vectors of one query.
        threads: requests that are worked on at a time, in one process; the rest wait.
        queue: requests that may wait; more are refused with 429.
        seconds: how long a request may take before it is answered with 504.
        write_seconds: the same for requests that change an index.
        lock_seconds: how long a change waits for the index's writer lock before it is answered with 503.
        drain_seconds: how long a server that was told to stop waits for what runs.
    """

    body: int = 64 << 20
    upload: int = 1 << 30
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

    def check(self, name: str, count: int, most: int) -> None:
        """Refuses what is beyond a limit.

        Raises:
            ValueError: `count` is above `most`.
        """
        if count > most:
            raise ValueError(f"{name}: want at most {most:,} in one request, got {count:,}")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything that decides what a server does.

    Attributes:
        indexes: folders of indexes, by the name they are served under.
        state: a folder of this server's own: jobs, uploads, metrics of its processes.
        root: where indexes may be created and are found, or None.
        tokens: who may do what; with none, everyone may do everything.
        hosts: names, beside localhost and addresses, that a request may call this server by; () for any.
        read_only: refuse every change.
        limits: see `Limits`.
        query_cache: questions whose vectors are remembered.
        log_queries: write questions to the log.
    """

    indexes: dict[str, Path]
    state: Path
    root: Path | None = None
    tokens: tuple[Token, ...] = ()
    hosts: tuple[str, ...] | None = ()
    read_only: bool = False
    limits: Limits = field(default_factory=Limits)
    query_cache: int = 256
    log_queries: bool = False
