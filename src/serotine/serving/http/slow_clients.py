"""Connections of clients that send a request too slowly, or without end, are closed.

Each of them occupies a descriptor meanwhile; the parser stores headers, and skips extensions of chunks, of any size.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from uvicorn.protocols.http.flow_control import FlowControl

    _Protocol = asyncio.Protocol
else:
    _Protocol = AutoHTTPProtocol

# Seconds in which the head of a request must arrive, and bytes of its body that must arrive in as many.
PERIOD = 20.0
MIN_BYTES = 10_000
# Seconds that a server which is stopping waits for the rest of a request.
STOPPING_SECONDS = 2.0
# Of a request's head, of the extensions of a chunk, and of trailers, each.
MAX_FRAMING_BYTES = 1 << 16
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# As `errors.error_response`, which is the application's: it loads once the socket is open.
_ENDLESS_BODY = (
    b'{"error": {"code": "too_large", "message": "request: its headers, and those of a chunk, must be at most '
    b'65,536 bytes; send fewer or shorter ones"}}'
)
_ENDLESS = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b"
) % (len(_ENDLESS_BODY), _ENDLESS_BODY)


class PatientProtocol(_Protocol):
    """The HTTP protocol of uvicorn, with a limit to its patience."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    flow: FlowControl
    # Of the newest request whose head is complete.
    cycle: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        # The newest request that has arrived whole.
        self._received: Any = None
        self._bytes = 0
        # Bytes since the last that were of a body, or ended a head.
        self._framing = 0
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(PERIOD, self._check)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._bytes += len(data)
        if self._timer is None:
            self._timer = self.loop.call_later(PERIOD, self._check)
        cycle, size = self.cycle, self._body_size()
        super().data_received(data)
        self._framing += len(data)
        if self.cycle is not cycle or self._body_size() > size:
            self._framing = 0
        if self.cycle is not self._received and not self.cycle.more_body:
            self._framing = 0
            self._received = self.cycle
            self._stop()
        if self._framing > MAX_FRAMING_BYTES and not self.transport.is_closing():
            self._refuse()

    def _body_size(self) -> int:
        return 0 if self.cycle is None else len(self.cycle.body)

    def _refuse(self) -> None:
        in_head = self.cycle is self._received
        # Bytes between those of another response would be taken for a part of it.
        if self.cycle is None or (self.cycle.response_complete if in_head else not self.cycle.response_started):
            self.transport.write(_ENDLESS)
        self._stop()
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let a request that has arrived be answered; its rest must arrive soon."""
        # asyncio.Protocol has no such method, that of uvicorn does.
        super().shutdown()  # type: ignore[misc]
        if self.cycle is not self._received:
            self.loop.call_later(STOPPING_SECONDS, self._close_unless_received)

    def _close_unless_received(self) -> None:
        if self.cycle is not self._received:
            self.transport.close()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        in_head = self.cycle is self._received
        answering = in_head and self.cycle is not None and not self.cycle.response_complete
        # While reading is paused, the client waits for the server.
        if answering or self.flow.read_paused or (not in_head and self._bytes >= MIN_BYTES):
            self._bytes = 0
            self._timer = self.loop.call_later(PERIOD, self._check)
            return
        self._timer = None
        if in_head:
            self.transport.write(_TIMEOUT)
        self.transport.close()
