"""Connections of clients that send a request too slowly, or without end, or do not take its response, are closed.

Each of them occupies a descriptor meanwhile; the parser stores headers, and skips extensions of chunks, of any size;
and a response stays in memory until it is taken.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if sys.platform == "linux":
    import fcntl
    import termios

if TYPE_CHECKING:
    import socket

    from uvicorn.protocols.http.flow_control import FlowControl

    _Protocol = asyncio.Protocol
else:
    _Protocol = AutoHTTPProtocol

# Seconds in which the head of a request must arrive, and bytes of its body that must arrive, or of a response that must
# be taken, in as many.
PERIOD = 20.0
MIN_BYTES = 10_000
# Bytes of responses that wait for slow clients, in one process: beyond it, the slowest is closed.
MAX_UNSENT_BYTES = 256 << 20
# No client is the slowest before.
_MIN_SECONDS = 1.0
# Seconds that a server which is stopping waits for the rest of a request.
STOPPING_SECONDS = 2.0
# Of a request's head, of the extensions of a chunk, and of trailers, each.
MAX_FRAMING_BYTES = 1 << 16
_log = logging.getLogger("serotine.serving")
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


def _queued_bytes(connection: socket.socket) -> int:
    """Return the bytes in the system's send buffer, where it says so.

    A slow client takes megabytes from there before the next are written to it.
    """
    if sys.platform != "linux":
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


class PatientProtocol(_Protocol):
    """The HTTP protocol of uvicorn, with a limit to its patience."""

    # Of this process: connections whose response waits for the client.
    _unsent: ClassVar[set[PatientProtocol]] = set()
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
        self._writing: asyncio.TimerHandle | None = None
        self._paused_at = 0.0
        # Bytes of the response that waited then, and at the last look.
        self._first_untaken = self._last_untaken = 0

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
        self._stop_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client to take a response."""
        # asyncio.Protocol has a method that does nothing.
        super().pause_writing()
        self._paused_at = self.loop.time()
        self._first_untaken = self._last_untaken = self._untaken_bytes()
        self._writing = self.loop.call_later(PERIOD, self._check_writing)
        self._unsent.add(self)
        self._close_slowest()

    def resume_writing(self) -> None:
        """Go on: the client has taken most of it."""
        self._stop_writing()
        super().resume_writing()

    def _stop_writing(self) -> None:
        self._unsent.discard(self)
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _check_writing(self) -> None:
        untaken = self._untaken_bytes()
        if self._last_untaken - untaken < MIN_BYTES:
            self._give_up()
            return
        self._last_untaken = untaken
        self._writing = self.loop.call_later(PERIOD, self._check_writing)
        self._close_slowest()

    def _close_slowest(self) -> None:
        # One response has a limit of its own.
        while len(self._unsent) > 1 and sum(map(PatientProtocol._unsent_bytes, self._unsent)) > MAX_UNSENT_BYTES:
            latest = self.loop.time() - _MIN_SECONDS
            slow = [other for other in self._unsent if other._paused_at <= latest]
            if not slow:
                return
            min(slow, key=PatientProtocol._bytes_per_second)._give_up()

    def _unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def _untaken_bytes(self) -> int:
        """Return the bytes of a response that the client has not received."""
        return self._unsent_bytes() + _queued_bytes(self.transport.get_extra_info("socket"))

    def _bytes_per_second(self) -> float:
        taken = self._first_untaken - self._untaken_bytes()
        return taken / (self.loop.time() - self._paused_at)

    def _give_up(self) -> None:
        unsent = self._unsent_bytes()
        _log.warning(f"a client takes its response too slowly; closed with {unsent:,} bytes unsent")
        self._stop_writing()
        # Closing would wait until all is sent.
        self.transport.abort()

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
