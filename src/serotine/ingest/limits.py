"""The limits of what is read of one file, so that a small file cannot fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields

from serotine.errors import InputFileError, invalid
from serotine.wording import worded

# Of a row of a few characters: its id alone takes as many bytes of memory.
ROW_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """Limits of what is read of one file: a longer record is skipped and reported, and a larger file too.

    Attributes:
        text_bytes: of the text of a document: of a record, or of a file that is one text; in UTF-8.
        record_bytes: of a line, a row or a message, and of a file that is parsed at once, such as JSON and HTML.
        file_bytes: of a file that is read whole, such as a PDF, and of the Parquet in a .parquet.gz.
        package_bytes: of what is read of a ZIP-based format, unpacked.
        stream_bytes: of one compressed stream of a PDF that is not an image, unpacked.
        row_group_bytes: of a row group of Parquet, unpacked.
        unpacked_bytes: of a .gz that is read line by line, unpacked.
        values: numbers, strings, objects and arrays in one text of JSON; elements and attributes of XML, tags of HTML,
            lines of an e-mail.
        expansion: how many times its bytes the rows of a file of records may have together, in characters, where they
            have more than `record_bytes`: formats that store a text once for many rows expand without end. A row
            counts 200 characters at least.

    >>> ReadingLimits(text_bytes=1 << 20).text_bytes
    1048576
    """

    text_bytes: int = 8 << 20
    record_bytes: int = 64 << 20
    file_bytes: int = 256 << 20
    package_bytes: int = 128 << 20
    stream_bytes: int = 64 << 20
    row_group_bytes: int = 1 << 30
    unpacked_bytes: int = 16 << 30
    values: int = 4_000_000
    expansion: int = 100

    def __post_init__(self) -> None:
        for limit in fields(self):
            if getattr(self, limit.name) < 1:
                raise invalid(limit.name, "at least 1", getattr(self, limit.name))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply these limits to what is read within the block, also on threads that copy its context."""
        token = _LIMITS.set(self)
        try:
            yield
        finally:
            _LIMITS.reset(token)


_LIMITS: ContextVar[ReadingLimits | None] = ContextVar("reading_limits", default=None)
_DEFAULT = ReadingLimits()


def reading_limits() -> ReadingLimits:
    """Return the limits that apply here."""
    return _LIMITS.get() or _DEFAULT


def size(count: int) -> str:
    """Return a number of bytes for a message: "64 MiB"."""
    for unit, bytes_ in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= bytes_ and count % bytes_ == 0:
            return f"{count // bytes_:,} {unit}"
    return f"{count:,} bytes"


def split_advice(limit: str, option: str) -> str:
    """Return what to do about a text or record beyond a limit of `ReadingLimits`, which this option raises."""
    return worded(
        f"split it, or raise ReadingLimits({limit}=...)", http="split it", command=f"split it, or raise {option}"
    )


def check_text(text: str, place: str) -> None:
    """Raise InputFileError for the text of a document that is longer than `text_bytes`."""
    limit = reading_limits().text_bytes
    if len(text) * 4 > limit and (len(text) > limit or len(text.encode("utf-8", "surrogatepass")) > limit):
        raise _long_text(place)


def check_length(characters: int, place: str) -> None:
    """Raise InputFileError for a text that becomes longer than `text_bytes` while it is written."""
    if characters > reading_limits().text_bytes:
        raise _long_text(place)


def _long_text(place: str) -> InputFileError:
    limit, fix = reading_limits().text_bytes, split_advice("text_bytes", "--max-text-size")
    return InputFileError(f"{place}: the text must be at most {size(limit)}; {fix}")


def expansion_limit(file_bytes: int) -> int:
    """Return how many characters the rows of a file of so many bytes may have together, by `expansion`."""
    limits = reading_limits()
    return max(limits.record_bytes, limits.expansion * file_bytes)


def check_expansion(characters: int, file_bytes: int, name: str) -> None:
    """Raise InputFileError where the rows of a file have more characters together than `expansion` lets it."""
    limit = expansion_limit(file_bytes)
    if characters > limit:
        fix = worded("write it as JSON Lines, or raise --max-expansion", http="write it as JSON Lines")
        raise InputFileError(
            f"{name}: its rows must have at most {limit:,} characters together, as it has {file_bytes:,} bytes, got "
            f"more (a row counts {ROW_CHARACTERS} at least); {fix}"
        )


def too_long(what: str) -> str:
    """Return the message for a line, row or message of more than `record_bytes`."""
    fix = split_advice("record_bytes", "--max-record-size")
    return f"{what} must be at most {size(reading_limits().record_bytes)}; {fix}"
