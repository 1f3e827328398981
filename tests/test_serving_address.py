"""The address of a server: announced when it accepts requests, refused in one line when it cannot be had."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.serving_cases import create_vector_index

from serotine.cli import main
from serotine.serving.listening import listen

pytest.importorskip("mcp", reason="needs the extra: pip install 'serotine[mcp]'")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_address_is_announced_once_requests_are_accepted(tmp_path: Path, workers: int) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 5)
    command = [sys.executable, "-m", "serotine", "serve", str(path), "--port", "0", "--workers", str(workers)]
    # Both streams in one: nothing is written before the address.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        address = re.fullmatch(r"Open http://127\.0\.0\.1:(\d+)  \(Ctrl-C stops the server\)\n", first)
        assert address is not None, first
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use_is_named_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 5)
    # A server that still loads: it has the port before it accepts anything.
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        for command in (["serve", "--workers", str(workers)], ["mcp"]):
            assert main([*command, str(path), "--port", str(port)]) == 1
            printed = capsys.readouterr()
            assert printed.out == ""
            (line,) = printed.err.splitlines()
            assert line.endswith(
                f"--port: {port} is in use by another program; stop it, or choose another port: --port {port + 1}"
            )


def test_an_address_of_another_machine_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = create_vector_index(tmp_path / "i.serotine", 5)
    assert main(["serve", str(path), "--host", "192.0.2.7", "--port", "0", "--allow-anyone"]) == 1
    assert "--host: cannot listen on '192.0.2.7'" in capsys.readouterr().err
