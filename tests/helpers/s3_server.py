"""A server of S3's API on loopback (moto), of which requests can be failed, cut and counted."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

BUCKET = "bucket"


class Faults:
    """A WSGI application around moto's.

    Attributes:
        share: of the requests, those that fail: half with status 503, half by a connection that is cut.
        requests: method and path of every request.
        before: called with method and path before each request is answered.
    """

    def __init__(self, application: Any) -> None:
        self.share = 0.0
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.failed = 0
        self._application = application
        self._random = random.Random(7)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            self.requests.append((method, path))
            draw = self._random.random()
            self.failed += draw < self.share
        self.before(method, path)
        if draw < self.share / 2:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        answer = self._application(environ, start_response)
        if draw < self.share:
            return self._cut(environ, answer)
        return answer

    def _cut(self, environ: dict[str, Any], answer: Iterable[bytes]) -> Iterator[bytes]:
        body = b"".join(answer)
        yield body[: len(body) // 2]
        environ["werkzeug.socket"].shutdown(2)

    def sent(self) -> list[str]:
        """Return the paths of all objects that were written, and forget the requests."""
        sent = [path for method, path in self.requests if method == "PUT"]
        self.requests.clear()
        return sent


@contextmanager
def s3_server() -> Iterator[tuple[Faults, str]]:
    """Run a server with an empty bucket; yield its faults and its address."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            pass

    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        # The buckets of moto belong to the process.
        urlopen(f"{address}/moto-api/reset", data=b"", timeout=60).close()  # noqa: S310 - loopback
        yield faults, address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
