"""Connections of clients that send a request too slowly, or without end, or do not take its response, are closed.

Each of them occupies a descriptor meanwhile; the parser stores headers, and skips extensions of chunks, of any size;
and a response stays in memory until it is taken.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, ClassVar, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if sys.platform == "linux":
    import fcntl
    import termios

if TYPE_CHECKING:
    from uvicorn.protocols.http.flow_control import FlowControl

    _Protocol = asyncio.Protocol
else:
    _Protocol = AutoHTTPProtocol

# Seconds in which the head of a request must arrive, and bytes of its body that must arrive in as many.
PERIOD = 20.0
MIN_BYTES = 10_000
# In as many periods, so many bytes of a response must be taken. A client's system may report that its program reads
# only once its whole receive buffer is free: up to 6 MB by default on Linux, three minutes at 35 kB/s.
TAKING_PERIODS = 9
# Bytes of responses that wait for slow clients, in one process: beyond it, the slowest is closed.
MAX_UNSENT_BYTES = 256 << 20
# Bytes of requests that are in memory, in one process: beyond it, the slowest of those that still arrive is refused.
MAX_BODY_BYTES = 512 << 20
# Of responses, and of requests, between two looks at how much there is of them.
_LOOK_BYTES = 16 << 20
# No client is the slowest before.
_MIN_SECONDS = 1.0
# Seconds that a server which is stopping waits for the rest of a request.
STOPPING_SECONDS = 2.0
# Of a request's head, of the extensions of a chunk, and of trailers, each.
MAX_FRAMING_BYTES = 1 << 16
_log = logging.getLogger("serotine.serving")
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# As `errors.error_response`, which is the application's: it loads once the socket is open.
_RESPONSE = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_ENDLESS_BODY = (
    b'{"error": {"code": "too_large", "message": "request: its headers, and those of a chunk, must be at most '
    b'65,536 bytes; send fewer or shorter ones"}}'
)
_ENDLESS = _RESPONSE % (b"413 Content Too Large", len(_ENDLESS_BODY), _ENDLESS_BODY)
_TOO_MANY_BODY = (
    b'{"error": {"code": "overloaded", "message": "too many large requests: their bodies fill the memory, and this one '
    b'arrives slowest; retry in a moment"}}'
)
_TOO_MANY = _RESPONSE % (b"429 Too Many Requests\r\nRetry-After: 1", len(_TOO_MANY_BODY), _TOO_MANY_BODY)
# Files of uploads are stored on disk while they arrive. As `errors.UPLOAD_SUFFIX`.
_UPLOAD_SUFFIX = "/files"


# `close` drops what waits in the system's send buffer.
_NO_LINGER = struct.pack("ii", 1, 0)


def _queued_bytes(connection: socket.socket) -> int:
    """Return the bytes in the system's send buffer, where it says so.

    It holds megabytes, and a response that is smaller waits nowhere else.
    """
    if sys.platform != "linux":
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


class _WatchedTransport:
    """The transport of a connection; what is written to it is counted by its protocol."""

    def __init__(self, transport: asyncio.Transport, protocol: PatientProtocol) -> None:
        self._transport, self._protocol = transport, protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, and begin to wait until the client has taken it; nothing where the connection is closed."""
        if not self._transport.is_closing():
            self._transport.write(data)
            self._protocol.written(len(data))


class PatientProtocol(_Protocol):
    """The HTTP protocol of uvicorn, with a limit to its patience."""

    # Of this process: connections whose response may wait for the client.
    _unsent: ClassVar[set[PatientProtocol]] = set()
    # Bytes of responses since the last look at how much waits.
    _unseen: ClassVar[int] = 0
    # Of this process: connections whose request is in memory, with the bytes of its body.
    _bodies: ClassVar[dict[PatientProtocol, int]] = {}
    # Bytes of bodies since the last look at how many there are.
    _unsummed: ClassVar[int] = 0
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    flow: FlowControl
    # Of the newest request whose head is complete.
    cycle: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        # That of uvicorn has stored the one given.
        self.transport = cast("asyncio.Transport", _WatchedTransport(self.transport, self))
        # The newest request that has arrived whole.
        self._received: Any = None
        # The request whose body is counted, and since when.
        self._counted: Any = None
        self._counted_since = 0.0
        self._bytes = 0
        # Bytes since the last that were of a body, or ended a head.
        self._framing = 0
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(PERIOD, self._check)
        self._writing: asyncio.TimerHandle | None = None
        # Bytes of all responses; and where the client must get to before it has stalled for too many periods.
        self._written = self._due = 0
        self._stalled_periods = 0
        # When everything had been taken last, and how much that was.
        self._waiting_since, self._taken_before = 0.0, 0
        # Whether a response is complete whose end has not reached uvicorn.
        self._completed = False

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
        self._count_body(len(data))
        if self.cycle is not self._received and not self.cycle.more_body:
            self._framing = 0
            self._received = self.cycle
            self._stop()
        if self._framing > MAX_FRAMING_BYTES and not self.transport.is_closing():
            self._refuse()

    def _body_size(self) -> int:
        return 0 if self.cycle is None else len(self.cycle.body)

    def _count_body(self, size: int) -> None:
        if self.cycle is None or self.cycle.response_complete or self.cycle.scope["path"].endswith(_UPLOAD_SUFFIX):
            return
        if self.cycle is not self._counted:
            self._counted, self._counted_since = self.cycle, self.loop.time()
            self._bodies[self] = 0
        if self not in self._bodies:
            return
        self._bodies[self] += size
        PatientProtocol._unsummed += size
        if PatientProtocol._unsummed >= _LOOK_BYTES:
            self._refuse_slowest_body()

    @classmethod
    def _refuse_slowest_body(cls) -> None:
        PatientProtocol._unsummed = 0
        # One body has a limit of its own.
        while len(cls._bodies) > 1 and sum(cls._bodies.values()) > MAX_BODY_BYTES:
            arriving = [
                other
                for other in cls._bodies
                if other.cycle is not other._received
                # One that waits behind another request's response.
                and not getattr(other, "pipeline", None)
                and other.loop.time() - other._counted_since >= _MIN_SECONDS
            ]
            if not arriving:
                return
            min(arriving, key=cls._body_bytes_per_second)._refuse_body()

    def _body_bytes_per_second(self) -> float:
        return self._bodies[self] / (self.loop.time() - self._counted_since)

    def _refuse_body(self) -> None:
        size = self._bodies.pop(self)
        _log.warning(f"a client sends its request too slowly; refused after {size:,} bytes, others fill the memory")
        if not self.cycle.response_started:
            self.transport.write(_TOO_MANY)
        self._stop()
        self.transport.close()

    def _refuse(self) -> None:
        in_head = self.cycle is self._received
        # Bytes between those of another response would be taken for a part of it.
        if self.cycle is None or (self.cycle.response_complete if in_head else not self.cycle.response_started):
            self.transport.write(_ENDLESS)
        self._stop()
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._bodies.pop(self, None)
        self._stop()
        self._stop_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Read no further request: its response would wait beside this one, where nothing counts it."""
        # asyncio.Protocol has a method that does nothing.
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on: the client has taken most of a response."""
        super().resume_writing()
        self.flow.resume_reading()
        if self._completed:
            self._completed = False
            super().on_response_complete()  # type: ignore[misc]

    def on_response_complete(self) -> None:
        """Begin the next request, if one has arrived already, as soon as the client has taken most of the response."""
        self._bodies.pop(self, None)
        if self.flow.write_paused and not self.transport.is_closing():
            self._completed = True
        else:
            super().on_response_complete()  # type: ignore[misc]

    def written(self, size: int) -> None:
        """Begin to wait, unless it does already, for the client to take a response."""
        if self._writing is None:
            self._waiting_since, self._taken_before = self.loop.time(), self._written
            self._due = self._written + min(size, MIN_BYTES)
            self._stalled_periods = 0
            self._writing = self.loop.call_later(PERIOD, self._check_writing)
            self._unsent.add(self)
        self._written += size
        PatientProtocol._unseen += size
        if PatientProtocol._unseen >= _LOOK_BYTES:
            self._close_slowest()

    def _stop_writing(self) -> None:
        self._unsent.discard(self)
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _check_writing(self) -> None:
        untaken = self._untaken_bytes()
        if not untaken:
            self._stop_writing()
            return
        taken = self._written - untaken
        self._stalled_periods += 1
        if taken >= self._due:
            self._due = min(taken + MIN_BYTES, self._written)
            self._stalled_periods = 0
        if self._stalled_periods >= TAKING_PERIODS:
            self._give_up(untaken)
            return
        self._writing = self.loop.call_later(PERIOD, self._check_writing)
        self._close_slowest()

    @classmethod
    def _close_slowest(cls) -> None:
        PatientProtocol._unseen = 0
        waiting = {other: untaken for other in cls._unsent if (untaken := other._untaken_bytes())}
        # One response has a limit of its own.
        while len(waiting) > 1 and sum(waiting.values()) > MAX_UNSENT_BYTES:
            slow = [other for other in waiting if other.loop.time() - other._waiting_since >= _MIN_SECONDS]
            if not slow:
                return
            slowest = min(slow, key=lambda other: other._bytes_per_second(waiting[other]))
            slowest._give_up(waiting.pop(slowest))

    def _untaken_bytes(self) -> int:
        """Return the bytes of responses that the client has not received."""
        return self.transport.get_write_buffer_size() + _queued_bytes(self.transport.get_extra_info("socket"))

    def _bytes_per_second(self, untaken: int) -> float:
        return (self._written - untaken - self._taken_before) / (self.loop.time() - self._waiting_since)

    def _give_up(self, untaken: int) -> None:
        _log.warning(f"a client takes its response too slowly; closed with {untaken:,} bytes unsent")
        self._stop_writing()
        # Closing would wait until all is sent, in this process or in the system.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
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
