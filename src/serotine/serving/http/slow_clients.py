"""Connections of clients that send a request too slowly are closed: each of them occupies a descriptor meanwhile."""

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
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


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
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(PERIOD, self._check)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._bytes += len(data)
        if self._timer is None:
            self._timer = self.loop.call_later(PERIOD, self._check)
        super().data_received(data)
        if self.cycle is not self._received and not self.cycle.more_body:
            self._received = self.cycle
            self._stop()

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
