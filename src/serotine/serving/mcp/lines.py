"""Read JSON-RPC messages from standard input, answer invalid lines with an error, and wait for calls in flight."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import anyio
import anyio.to_thread
import mcp.types as types
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

# A query has at most 65,536 characters, of up to 12 bytes each; the rest is for filters.
MAX_LINE_BYTES = 4 << 20
_SKIPPED = 1 << 16
# Where the id of a line that is no message is looked for.
_HEAD, _TAIL = 1 << 16, 512
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_VALUE = r'\s{0,9}+:\s{0,9}+(-?\d{1,15}|"[^"\\]{0,200}")\s{0,9}+'
_ID = re.compile(_VALUE + "[,}]")
_LAST_ID = re.compile(r'[,{]\s{0,9}+"id"' + _VALUE + r"\}\s{0,9}+\Z")

# A session ends with its input, and drops what is not answered by then. So many seconds are waited for the next answer.
_LAST_ANSWERS_SECONDS = 60


class Writer(Protocol):
    """What a session writes its messages to."""

    async def send(self, item: SessionMessage, /) -> None:
        """Write a message."""

    async def aclose(self) -> None:
        """End the messages."""


class Lines:
    """Reads lines of bounded length, and answers those that are no messages of JSON-RPC.

    Args:
        file: standard input.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writer: Writer | None = None
        self._connected = anyio.Event()
        # "7" and 7 are one id to a session; of requests with one id, each is answered.
        self._unanswered: dict[types.RequestId, list[types.RequestId]] = {}
        self._answered = anyio.Event()

    def answers(self, writer: Writer) -> Answers:
        """Return a writer for the session; `writer` also gets the errors that are answers to lines."""
        self._writer = writer
        self._connected.set()
        return Answers(writer, self._answer)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield messages until the input ends and every request is answered."""
        while True:
            line, refusal = await anyio.to_thread.run_sync(self._read)
            if refusal is not None:
                await self._connected.wait()
                if self._writer is not None:
                    await self._writer.send(SessionMessage(refusal))
            elif line is None:
                break
            elif line.strip():
                yield line
        while self._unanswered:
            self._answered = anyio.Event()
            with anyio.move_on_after(_LAST_ANSWERS_SECONDS) as waiting:
                await self._answered.wait()
            if waiting.cancelled_caught:
                await self._give_up()
                return

    async def _give_up(self) -> None:
        """Answer the requests that are left with an error."""
        fault = f"no answer within {_LAST_ANSWERS_SECONDS} seconds of the last one, and the input has ended"
        error = types.ErrorData(code=types.INTERNAL_ERROR, message=f"{fault}; keep standard input open")
        for id_ in [id_ for ids in self._unanswered.values() for id_ in ids]:
            if self._writer is not None:
                await self._writer.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=id_, error=error)))

    def _answer(self, id_: types.RequestId | None) -> None:
        if id_ is not None:
            self._expect_no_more(id_)
            self._answered.set()

    def _expect_no_more(self, id_: types.RequestId) -> None:
        key = coerce_request_id(id_)
        ids = self._unanswered.get(key, [])
        if len(ids) > 1:
            ids.pop()
        else:
            self._unanswered.pop(key, None)

    def _read(self) -> tuple[str | None, types.JSONRPCError | None]:
        """Return the next line, or None at the end; or what to answer instead."""
        data = self._file.readline(MAX_LINE_BYTES + 1)
        line = data.decode("utf-8", "replace")
        if len(data) > MAX_LINE_BYTES:
            tail = (data + self._skip())[-_TAIL:].decode("utf-8", "replace")
            return "", _refusal(line[:_HEAD], tail, f"a message must be at most {MAX_LINE_BYTES:,} bytes; send less")
        if not data:
            return None, None
        try:
            if line.strip():
                self._note(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            fault = first["msg"] if first["type"] == "json_invalid" else "not a message of JSON-RPC 2.0"
            return "", _refusal(line[:_HEAD], line[-_TAIL:], f"{fault}; send one message per line", first["type"])
        return line, None

    def _note(self, message: types.JSONRPCMessage) -> None:
        """Expect an answer to a request, and none to one that is cancelled."""
        if isinstance(message, types.JSONRPCRequest):
            self._unanswered.setdefault(coerce_request_id(message.id), []).append(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            id_ = (message.params or {}).get("requestId")
            if isinstance(id_, str | int) and not isinstance(id_, bool):
                self._expect_no_more(id_)

    def _skip(self) -> bytes:
        """Read to the end of the line; return its last bytes."""
        last = b""
        while (data := self._file.readline(_SKIPPED)) and not data.endswith(b"\n"):
            last = data[-_TAIL:]
        return last + data


class Answers:
    """Passes a session's messages on, and tells whose answers they are.

    Args:
        writer: where they go.
        on_answer: called with the id of every request that is answered.
    """

    def __init__(self, writer: Writer, on_answer: Callable[[types.RequestId | None], None]) -> None:
        self._writer = writer
        self._on_answer = on_answer

    async def send(self, item: SessionMessage, /) -> None:
        """Write a message."""
        await self._writer.send(item)
        if isinstance(item.message, (types.JSONRPCResponse, types.JSONRPCError)):
            self._on_answer(item.message.id)

    async def aclose(self) -> None:
        """Close the writer."""
        await self._writer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _refusal(head: str, tail: str, message: str, kind: str = "") -> types.JSONRPCError:
    code = types.INVALID_REQUEST if kind != "json_invalid" else types.PARSE_ERROR
    return types.JSONRPCError(
        jsonrpc="2.0", id=_request_id(head, tail), error=types.ErrorData(code=code, message=f"line: {message}")
    )


def _request_id(head: str, tail: str) -> str | int | None:
    """Return the id of a message that cannot be parsed: the caller waits for its answer."""
    value = _LAST_ID.search(tail)
    depth = 0
    for token in _TOKEN.finditer(head) if value is None else ():
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == '"id"' and depth == 1 and (value := _ID.match(head, token.end())):
            break
    if value is None:
        return None
    return value[1][1:-1] if value[1].startswith('"') else int(value[1])
