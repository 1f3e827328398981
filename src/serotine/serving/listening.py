"""The server's socket: bound before anything is loaded, and announced once it accepts connections."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable

from serotine.errors import SerotineError

_RETRY_SECONDS = 0.05
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown as the address to open


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; connections are refused until the server listens.

    Raises:
        SerotineError: the port is in use, or the address is not one of this machine.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise cannot_listen(host, port, error) from None
    # A name such as localhost may have both kinds: most programs try the older first.
    family, kind, protocol, _, address = min(addresses, key=lambda address: address[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        # A port stays reserved for a minute after a server that had connections stops.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise cannot_listen(host, port, error) from None
    bound.set_inheritable(True)
    return bound


def cannot_listen(host: str, port: int, error: OSError) -> SerotineError:
    """Return the error for an address that cannot be listened on."""
    if error.errno == errno.EADDRINUSE:
        return SerotineError(
            f"--port: {port} is in use by another program; stop it, or choose another port: --port {port + 1}"
        )
    if error.errno == errno.EACCES:
        return SerotineError(f"--port: {port} needs administrator rights; choose another port: --port 8000")
    return SerotineError(
        f"--host: cannot listen on {host!r} ({error.strerror}); choose an address of this machine, such as 127.0.0.1"
    )


class Announcement:
    """Announces the address once the socket accepts connections, whichever process accepts them.

    Args:
        bound: the server's socket.
        host: the address that it was bound to, as given.
        announce: called once with the server's address, such as "http://127.0.0.1:8000".
    """

    def __init__(self, bound: socket.socket, host: str, announce: Callable[[str], None]) -> None:
        self._announce = announce
        port = bound.getsockname()[1]
        self._family, self._host, self._port = bound.family, _EVERY_ADDRESS.get(host, host), port
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> Announcement:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _wait(self) -> None:
        while not self._stopped.is_set():
            with socket.socket(self._family, socket.SOCK_STREAM) as probe:
                if probe.connect_ex((self._host, self._port)) == 0:
                    break
            self._stopped.wait(_RETRY_SECONDS)
        else:
            return
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._announce(f"http://{host}:{self._port}")
