"""An e-mail: subject and body as text, sender, recipients and date as metadata, attachments counted."""

from __future__ import annotations

import email
import email.policy
from contextlib import suppress
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from typing import Any

from serotine.errors import InputFileError
from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, plain
from serotine.ingest.readers.html import read_html

_MAX_PARSED = 1000
_HEADERS = {"title": "Subject", "author": "From", "to": "To", "message_id": "Message-ID"}


@dataclass(frozen=True, slots=True)
class Message:
    """An e-mail.

    Attributes:
        body: its text.
        metadata: title (the subject), author, to, date (ISO) and message_id, where it has them.
        attachments: how many attachments it has.
    """

    body: str
    metadata: dict[str, Any]
    attachments: int


def read_eml(data: bytes, name: str) -> Extract:
    """Return subject and body of a .eml file.

    Raises:
        InputFileError: it is not an e-mail, or its body is HTML and selectolax is not installed.
    """
    message = parse_message(data, name)
    text = "\n\n".join(text for text in (message.metadata.get("title", ""), message.body) if text)
    extract = plain(text, message.metadata)
    unread = {"attachments": message.attachments} if message.attachments else {}
    return Extract(extract.text, extract.sections, extract.metadata, unread=unread)


def parse_message(data: bytes, name: str) -> Message:
    """Parse the bytes of an e-mail; errors as of `read_eml`."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - what this policy creates
    if not message.keys():
        raise InputFileError(f"{name}: not an e-mail: has no headers; rename it to .txt")
    metadata = {key: text for key, header in _HEADERS.items() if (text := _header(message, header))}
    with suppress(ValueError):
        metadata["date"] = parsedate_to_datetime(_header(message, "Date")).isoformat()
    bodies, attachments = _parts(message)
    text = "\n\n".join(body for part in bodies if (body := _content(part, name).strip("\r\n")))
    return Message(text.replace("\r\n", "\n"), metadata, attachments)


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


def _content(part: MIMEPart, name: str) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    charset = str(part.get_content_charset() or "")
    try:
        text = data.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        text = decode(data, name, charset or None)[0]
    return read_html(text.encode("utf-8", "replace"), name).text if part.get_content_type() == "text/html" else text
