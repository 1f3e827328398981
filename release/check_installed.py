"""Check an installed Serotine: index a folder, search it, and serve it. Needs serotine[serve] and serotine-mini.

    python release/check_installed.py

Run it with the Python of the environment to check; it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTES = {
    "bats.md": "# Bats\n\nThe serotine is a bat that leaves its roost late in the evening.\n",
    "budget.md": "# Budget\n\nThe committee decided to halve the budget for travel.\n",
    "kernels.txt": "A kernel computes the largest similarity of every query token.\n",
}
QUERY = "what was decided about spending on trips?"
ANSWER = "budget.md"
SECONDS_TO_START = 60


def main() -> int:
    """Run all checks; an exception is a failure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check_location(folder)
        notes = folder / "notes"
        notes.mkdir()
        for file, text in NOTES.items():
            (notes / file).write_text(text, encoding="utf-8")
        print(serotine("--version", cwd=folder).strip())
        serotine("index", "notes", cwd=folder)
        hits = serotine("search", "notes.serotine", QUERY, "-k", "1", cwd=folder)
        if ANSWER not in hits:
            raise SystemExit(f"search: expected {ANSWER} first, got {hits!r}")
        print(f"indexed {len(NOTES)} files, found {ANSWER}")
        with server(folder) as address:
            check_server(address)
        print(f"served the page and the API at {address}")
    return 0


def check_location(folder: Path) -> None:
    """Refuse to check a folder of sources in place of the installed package."""
    code = "import serotine, serotine._core as core; print(serotine.__file__); print(core.__file__)"
    for file in run(sys.executable, "-c", code, cwd=folder).split("\n")[:2]:
        if not Path(file).resolve().is_relative_to(Path(sys.prefix).resolve()):
            raise SystemExit(f"serotine: must be installed in {sys.prefix}, got {file}; unset PYTHONPATH")
        print(file)


def serotine(*arguments: str, cwd: Path) -> str:
    """Run the command that the installation put beside Python, and return its output."""
    return run(str(command()), *arguments, cwd=cwd)


def command() -> Path:
    """Return the path of `serotine`."""
    suffix = ".exe" if os.name == "nt" else ""
    # `sys.executable` is not resolved: a virtual environment's is a link to a Python elsewhere.
    return Path(sys.executable).parent / f"serotine{suffix}"


def run(*arguments: str, cwd: Path) -> str:
    """Run a program and return its output; its errors are printed."""
    return subprocess.run(arguments, cwd=cwd, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True).stdout


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run `serotine serve` on a free port, and give its address."""
    log = folder / "serve.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [command(), "serve", "notes.serotine", "--port", "0"], cwd=folder, stdout=file, stderr=file
        )
    try:
        yield address_in(log, process)
    finally:
        process.terminate()
        process.wait(timeout=SECONDS_TO_START)


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Wait for the address that the server prints."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        for word in log.read_text(encoding="utf-8").split():
            if word.startswith("http://"):
                return word.rstrip("/")
        time.sleep(0.1)
    raise SystemExit(f"serve: no address within {SECONDS_TO_START} s, got {log.read_text(encoding='utf-8')!r}")


def check_server(address: str) -> None:
    """Ask for the page, health and the hits of a query."""
    if json.loads(get(f"{address}/healthz"))["status"] != "ok":
        raise SystemExit(f"serve: /healthz answered {get(f'{address}/healthz')!r}")
    page = get(f"{address}/")
    if "<html" not in page:
        raise SystemExit(f"serve: / is no page, got {page[:200]!r}")
    body = json.dumps({"query": QUERY, "k": 1}).encode()
    headers = {"Content-Type": "application/json"}
    hits = get(urllib.request.Request(f"{address}/v1/indexes/notes/search", body, headers))  # noqa: S310
    if ANSWER not in hits:
        raise SystemExit(f"serve: expected {ANSWER} among the hits, got {hits!r}")


def get(request: str | urllib.request.Request) -> str:
    """Return the body of an answer; an error's too."""
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_START) as response:  # noqa: S310
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{error.url}: {error.code} {error.read().decode()!r}") from error


if __name__ == "__main__":
    sys.exit(main())
