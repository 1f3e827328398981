"""An e-mail: subject and body as text, sender, recipients and date as metadata, attachments counted."""

from __future__ import annotations

import email
import email.policy
from contextlib import suppress
from dataclasses import dataclass, replace
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.decoding import UTF8, Encoding, decode, known_encoding
from serotine.ingest.extract import Extract, plain
from serotine.ingest.limits import reading_limits
from serotine.ingest.readers.html import read_html

_MAX_PARSED = 1000
# Parts, of which each takes up to a millisecond, where it is HTML; and lines times boundaries: while it is within parts
# within parts, it compares every line with all of their boundaries.
_MAX_PARTS, _MAX_COMPARISONS = 20_000, 100_000_000
_HEADERS = {"title": "Subject", "author": "From", "to": "To", "message_id": "Message-ID"}


class _LenientPolicy(email.policy.EmailPolicy):
    """Take headers for empty that Python's parser raises an error for, and read only the beginning of long ones."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        try:
            return super().header_fetch_parse(name, value[:_MAX_PARSED])
        # Of many kinds.
        except Exception:
            return super().header_fetch_parse(name, "")


_POLICY = _LenientPolicy()


@dataclass(frozen=True, slots=True)
class Message:
    """An e-mail.

    Attributes:
        body: its text.
        metadata: title (the subject), author, to, date (ISO) and message_id, where it has them.
        attachments: how many attachments it has.
        encoding: of its first part that is not what it declares; UTF-8 where there is none.
    """

    body: str
    metadata: dict[str, Any]
    attachments: int
    encoding: Encoding


def read_eml(data: bytes, name: str) -> Extract:
    """Return subject and body of a .eml file.

    Raises:
        InputFileError: it is not an e-mail, or its body is HTML and selectolax is not installed.
    """
    message = parse_message(data, name)
    text = "\n\n".join(text for text in (message.metadata.get("title", ""), message.body) if text)
    extract = plain(text, {**message.metadata, **message.encoding.metadata}, message.encoding.problems)
    return replace(extract, unread={"attachments": message.attachments} if message.attachments else {})


def parse_message(data: bytes, name: str) -> Message:
    """Parse the bytes of an e-mail; errors as of `read_eml`."""
    _check_cost(data, name)
    message = email.message_from_bytes(data, policy=_POLICY)
    assert isinstance(message, EmailMessage)  # noqa: S101 - what this policy creates
    if not message.keys():
        raise InputFileError(f"{name}: not an e-mail: has no headers; rename it to .txt")
    metadata = {key: text for key, header in _HEADERS.items() if (text := _header(message, header))}
    with suppress(ValueError):
        metadata["date"] = parsedate_to_datetime(_header(message, "Date")).isoformat()
    bodies, attachments = _parts(message)
    contents = [_content(part, name) for part in bodies]
    text = "\n\n".join(body for content, _ in contents if (body := content.strip("\r\n")))
    encoding = next((encoding for _, encoding in contents if encoding.problems or encoding.metadata), Encoding(UTF8))
    return Message(text.replace("\r\n", "\n"), metadata, attachments, encoding)


def _check_cost(data: bytes, name: str) -> None:
    """Raise InputFileError for an e-mail that would take Python's parser minutes, or gigabytes."""
    lines, limit = data.count(b"\n"), reading_limits().values
    if lines > limit:
        raise InputFileError(f"{name}: an e-mail must have at most {limit:,} lines, got {lines:,}; split it")
    boundaries = data.lower().count(b"boundary")
    parts = data.count(b"\n--") if boundaries else 0
    if parts > _MAX_PARTS or lines * boundaries > _MAX_COMPARISONS:
        raise InputFileError(
            f"{name}: an e-mail must have at most {_MAX_PARTS:,} parts, and fewer within each other, got {parts:,} "
            f"and {boundaries:,} boundaries; save its attachments as files"
        )


def _header(message: EmailMessage, header: str) -> str:
    # Python's parser raises errors of many kinds for broken headers.
    try:
        raw = next((str(value) for name, value in message.raw_items() if name.lower() == header.lower()), "")
        # It takes quadratic time, so it reads no long ones; words in another encoding are decoded without it.
        value = str(make_header(decode_header(raw)) if len(raw) > _MAX_PARSED else message.get(header) or "")
    except Exception:
        return ""
    return " ".join(value.encode("utf-8", "replace").decode().split())


def _parts(message: EmailMessage) -> tuple[list[MIMEPart], int]:
    """Return the parts of the body, and the number of attachments; of alternatives, the plainest."""
    bodies: list[MIMEPart] = []
    attachments = 0
    pending: list[MIMEPart] = [message]
    while pending:
        part = pending.pop()
        kind = part.get_content_type()
        if part.get_content_disposition() == "attachment" or (part is not message and kind == "message/rfc822"):
            attachments += 1
        elif kind == "multipart/alternative":
            parts = [child for child in part.iter_parts() if isinstance(child, MIMEPart)]
            best = next(
                (
                    child
                    for preferred in ("text/plain", "text/html")
                    for child in parts
                    if child.get_content_type() == preferred
                ),
                None,
            )
            # An alternative may be HTML with its images.
            pending += [best] if best is not None else reversed(parts)
        elif part.is_multipart():
            pending += reversed([child for child in part.iter_parts() if isinstance(child, MIMEPart)])
        elif kind in ("text/plain", "text/html"):
            bodies.append(part)
        else:
            attachments += 1
    return bodies, attachments


def _content(part: MIMEPart, name: str) -> tuple[str, Encoding]:
    """Return the text of a part, and its encoding where it is not in the one that it declares, or else UTF-8."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    charset = str(part.get_content_charset() or "")
    declared = known_encoding(charset)
    encoding = Encoding(UTF8)
    try:
        text = data.decode(declared or "utf-8")
        # As in text of seven bits that switches to other letters.
        is_known = declared is not None or (not charset and "\x1b$" not in text)
    except (LookupError, ValueError):
        is_known = False
    if not is_known:
        text, encoding = decode(data, name, charset or None)
    is_html = part.get_content_type() == "text/html"
    return (read_html(text.encode("utf-8", "replace"), name).text if is_html else text), encoding
