"""The nginx configuration of docs/nginx.md is valid, and a client and a browser reach a server through it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.serving_cases import create_vector_index, serving

PAGE = Path(__file__).parents[1] / "docs" / "nginx.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") or ""
OPENSSL = shutil.which("openssl") or ""
READER = "reader-token-of-the-test"
pytestmark = pytest.mark.skipif(not (NGINX and OPENSSL), reason="needs nginx and openssl")


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[int]:
    """Run a server with tokens behind nginx with the page's configuration; yield nginx's port."""
    (tmp_path / "tokens").write_text(f"read {READER}\nwrite writer-token-of-the-test\n")
    (tmp_path / "tokens").chmod(0o600)
    names = ["-keyout", "site.key", "-out", "site.pem", "-subj", "/CN=search.example.org", "-days", "2"]
    subprocess.run(
        [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--tokens", tmp_path / "tokens", "--allow-host", "search.example.org")
    index = create_vector_index(tmp_path / "vectors.serotine")
    with serving(index, *options, ready_token=READER) as server:
        (site,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        for written, here in {
            "127.0.0.1:8000": f"127.0.0.1:{server.port}",
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/ssl/search.example.org": str(tmp_path / "site"),
            "/var/log/nginx/serotine.log": str(tmp_path / "access"),
            # A busy machine answers fewer than 20 requests a second.
            "rate=20r/s": "rate=1r/s",
        }.items():
            assert written in site
            site = site.replace(written, here)
        folders = "".join(
            f"{name}_temp_path {tmp_path / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path / 'pid'}; error_log {tmp_path / 'log'}; events {{}}\n"
            f"http {{ {folders}\n{site}}}\n"
        )
        command = [NGINX, "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "log"), "-p", str(tmp_path)]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        process = subprocess.Popen(command)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(30)


def request(port: int, path: str, token: str = READER, **headers: str) -> tuple[int, bytes, str]:
    """Send a request as for the public name; return status, body and request id."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Host": f"search.example.org:{port}", "Authorization": f"Bearer {token}", **headers}
    call = urllib.request.Request(f"https://127.0.0.1:{port}{path}", headers=headers)
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(call, context=context, timeout=30) as response:  # noqa: S310
                return response.status, response.read(), response.headers["X-Request-ID"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers["X-Request-ID"]
        except urllib.error.URLError:
            # nginx does not listen yet.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_requests_pass_the_proxy(proxy: int, tmp_path: Path) -> None:
    status, body, request_id = request(proxy, "/v1/indexes")
    assert (status, [index["name"] for index in json.loads(body)["indexes"]]) == (200, ["vectors"])
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    # nginx writes the line after the response.
    deadline = time.monotonic() + 30
    while not (logged := (tmp_path / "access").read_text("utf-8").split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert logged[-1] == request_id
    assert request(proxy, "/")[0] == 200
    assert request(proxy, "/readyz", token="")[0] == 200
    assert request(proxy, "/metrics")[0] == 403
    assert request(proxy, "/v1/indexes", token="unknown")[0] == 401
    own_page = {"Origin": f"https://search.example.org:{proxy}", "Sec-Fetch-Site": "same-origin"}
    assert request(proxy, "/v1/indexes", **own_page)[0] == 200
    assert request(proxy, "/v1/indexes", **{**own_page, "Origin": "https://other.example.org"})[0] == 403
    assert request(proxy, "/v1/indexes", Host="other.example.org")[0] == 421


def test_a_stranger_who_asks_too_often_is_refused_with_429(proxy: int) -> None:
    request(proxy, "/readyz", token="")
    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(lambda _: request(proxy, "/readyz", token="")[0], range(60)))
    assert set(answered) == {200, 429}
