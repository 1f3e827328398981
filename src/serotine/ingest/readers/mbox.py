"""Mailboxes: one document for each e-mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from serotine.errors import InputFileError
from serotine.ingest.limits import reading_limits, too_long
from serotine.ingest.lines import read_raw_lines
from serotine.ingest.readers.email_message import parse_message
from serotine.ingest.rows import BadRowError, Problem, ReadRow, Row, Unread

# "From anna@a.b Tue Nov 24 10:00:00 2026"; the body of a message may have a line that begins with "From ", too.
_FROM = re.compile(rb"From .*\d{4}\s*$")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


def read_mbox(path: Path, name: str) -> Iterator[ReadRow]:
    """Yield the messages of a .mbox file; an error in the place of those that are no e-mail.

    Raises:
        InputFileError: the file cannot be read, or does not begin with a message.
    """
    for line, data in _messages(path, name):
        try:
            if data is None:
                raise InputFileError(f"{name}:{line}: {too_long('a message')}")
            message = parse_message(_QUOTED_FROM.sub(rb"\1", data), name)
        except InputFileError as error:
            yield BadRowError.of(name, line, error)
            continue
        attachments = {"attachments": message.attachments} if message.attachments else {}
        yield from (Problem(line, reason) for _, reason in message.encoding.problems)
        if attachments:
            yield Unread(attachments)
        yield Row(line, {**message.metadata, "text": message.body, **attachments}, message.encoding.metadata)


def _messages(path: Path, name: str) -> Iterator[tuple[int, bytes | None]]:
    """Yield (line, bytes) of every message; None for the bytes of one that is too long."""
    limit = reading_limits().record_bytes
    message = bytearray()
    start = length = 0
    blank = True
    for number, line in read_raw_lines(path, name):
        if blank and _FROM.match(line):
            if start:
                yield start, bytes(message) if length <= limit else None
            start, length = number, 0
            message.clear()
        elif start:
            length += len(line)
            if length <= limit:
                message += line
        elif line.strip():
            raise InputFileError(f"{name}:{number}: not a mailbox: must begin with a line 'From '; rename it to .txt")
        blank = not line.strip()
    if start:
        yield start, bytes(message) if length <= limit else None
