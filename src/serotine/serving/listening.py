"""The server's socket: it listens before anything is loaded, so that of two servers on one port only one loads."""

from __future__ import annotations

import errno
import socket

from serotine.errors import SerotineError

# As uvicorn's.
_BACKLOG = 2048
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - shown as the address to open


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; connections wait until the server accepts them.

    Raises:
        SerotineError: the port is in use, or the address is not one of this machine.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    # A name such as localhost may have both kinds: most programs try the older first.
    family, kind, protocol, _, socket_address = min(addresses, key=lambda found: found[0] != socket.AF_INET)
    listening = socket.socket(family, kind, protocol)
    try:
        # A port stays reserved for a minute after a server that had connections stops.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(socket_address)
        # Until one of them listens, several sockets may be bound to the same port.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise _cannot_listen(host, port, error) from None
    listening.set_inheritable(True)
    return listening


def free_address(host: str, port: int) -> str:
    """Return the address to open of a server that another program will run, as `address` does.

    Raises:
        SerotineError: see `listen`.
    """
    with listen(host, port) as listening:
        return address(listening, host)


def _cannot_listen(host: str, port: int, error: OSError) -> SerotineError:
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


def address(listening: socket.socket, host: str) -> str:
    """Return the address of a server to open, such as "http://127.0.0.1:8000".

    Args:
        listening: its socket.
        host: the name or address that it listens on, as given.
    """
    host = _EVERY_ADDRESS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
