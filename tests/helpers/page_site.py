"""Indexes with titles, hostile text and tags, and the server process, for the page's tests."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from helpers.cli_fake import FakeEncoder
from serotine import Index

FAKE = [sys.executable, str(Path(__file__).parent / "cli_fake.py")]
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script> {{7*7}} serotine ${8*8} `x-html`'
LONG = "Nothing here matters. " * 60 + "The serotine is a late bat. " + "Nothing else matters. " * 60


def create_indexes(root: Path) -> list[Path]:
    names = ("bats", "strange", "empty", "vectors", "tags")
    paths = [root / f"{name}.serotine" for name in names]
    with Index.create(paths[0], encoder=FakeEncoder(), filterable={"lang": str, "year": int}) as index:
        index.add(
            ids=[f"bat-{i}" for i in range(12)],
            texts=[
                "The serotine is a late bat. It flies after sunset.",
                *(f"Bats of kind {i} hunt moths at night, and owls do not." for i in range(11)),
            ],
            metadata=[
                {"title": f"About bats {i}", "lang": "en" if i % 3 else "la", "year": 2000 + i} for i in range(12)
            ],
        )
    with Index.create(paths[1], encoder=FakeEncoder()) as index:
        index.add(
            ids=["<b>bold</b>", "emoji", "long", "wordless"],
            texts=[HOSTILE, "🦇🦇 the serotine 🦇 flies", LONG, "…"],
            metadata=[{"title": HOSTILE, "<i>": "<u>under</u>"}, {}, {}, {}],
        )
    Index.create(paths[2], encoder=FakeEncoder()).close()
    with Index.create(paths[3], dim=16) as index:
        index.add(ids=["v"], vectors=FakeEncoder().encode_queries(["serotine bats"]))
    with Index.create(paths[4], encoder=FakeEncoder()) as index:
        index.add(
            ids=["both", "late", "early", "one"],
            texts=["bats hunt"] * 4,
            metadata=[{"tags": ["late", "large"]}, {"tags": ["late"]}, {"tags": ["early"]}, {"tags": "single"}],
        )
    return paths


def start_server(log: Path, *arguments: object) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*FAKE, "serve", *map(str, arguments), "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=5).close()  # noqa: S310 - a local server
            return process, address
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
