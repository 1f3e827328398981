"""Detection of a text file's encoding: by its byte order mark or switches, as UTF-8, as it declares, or by its letters.

UTF-8 comes before the declaration, because text in another encoding is rarely valid UTF-8 by chance, while declarations
are often wrong.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from serotine.errors import InputFileError, MissingExtraError
from serotine.ingest.limits import reading_limits, too_long
from serotine.ingest.lines import check_unpacked, open_file, read_raw_lines
from serotine.wording import worded

UTF8 = "utf-8"
# The marks of UTF-32 begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARK_BYTES = 4
# Of Python: of names of domains, in quadratic time, and of literals in source code.
_NOT_OF_FILES = frozenset(("idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"))
# Of an encoding; Python remembers all that it was asked for.
_MAX_NAME = 100
# Windows encodings that programs write under the names of smaller standards; browsers read them the same way.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
# Encodings common in text files. Among all that chardet knows, short texts look like rare ones.
_CANDIDATES = (
    *("cp1252", "cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949", "cp1250", "cp1251", "cp1253", "cp1254"),
    *("cp1255", "cp1256", "cp1257", "cp1258", "cp874", "koi8-r", "koi8-u", "iso8859-2"),
    # Of DOS and of old Macs.
    *("cp850", "cp852", "cp866", "mac-roman"),
)

_SAMPLE = 1 << 17
_SWITCHED_LINES = 1000
_UTF16_SAMPLE = 1 << 12
_MIN_NUL_RATIO = 0.3
# What switches text of seven bits to Japanese or Korean letters.
_SWITCH = re.compile(rb"\x1b\$(?:[@B]|\([@BDOPQ]|\)C)")
_SWITCHED = ("iso2022_jp_2", "iso2022_jp_ext", "iso2022_jp_2004", "iso2022_kr")
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of a text file.

    Attributes:
        name: its Python name.
        is_guess: whether it was chosen by the letters alone.
        first_broken: the first line that is not valid, of text that is UTF-8 otherwise; 0 where there is none.
        broken: number of such lines.
    """

    name: str
    is_guess: bool = False
    first_broken: int = 0
    broken: int = 0

    @property
    def errors(self) -> str:
        """How Python's codecs are to treat what is not valid."""
        return "replace" if self.broken else "strict"

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata with an encoding other than UTF-8, so that a wrong one is visible."""
        return {} if self.name.startswith("utf-8") else {"encoding": self.name}

    @property
    def problems(self) -> tuple[tuple[int, str], ...]:
        """Line and message of an encoding that may be wrong, or of broken text; none where all is certain."""
        if self.broken:
            later = self.broken - 1
            others = f", nor {'is 1 later line' if later == 1 else f'are {later:,} later lines'}" if later else ""
            reason = f"not valid UTF-8{others}; what is broken is read as '\ufffd': correct it"
            return ((self.first_broken, reason),)
        if not self.is_guess:
            return ()
        convert = "convert it: iconv -f ENCODING -t UTF-8"
        fix = "if letters are wrong, " + worded(
            f"name its encoding, Fields(encoding=...), or {convert}",
            http=convert,
            command=f"name its encoding with --encoding, or {convert}",
        )
        return ((1, f"not UTF-8, and read as {self.name}, which is a guess; {fix}"),)


def decode(data: bytes, name: str, declared: str | None = None, *, given: str | None = None) -> tuple[str, Encoding]:
    """Return a text and its encoding.

    Args:
        data: the bytes of a file.
        name: its name in messages.
        declared: the encoding that the file declares.
        given: the encoding that somebody named for it, which is not doubted; None: it is detected.

    Raises:
        InputFileError: it is not text, or its encoding is unknown.
    """
    if given is not None:
        check_mark(data, name, given)
        try:
            text = data.decode(given).removeprefix("\ufeff")
        except UnicodeError as error:
            position = f" (byte {error.start:,})" if isinstance(error, UnicodeDecodeError) else ""
            raise InputFileError(f"{name}: {not_in(given)}{position}; {name_another()}") from None
        # Readers detect the encoding of what they are given: with NUL characters it would look like UTF-16.
        if "\0" in text:
            raise InputFileError(f"{name}: {not_in(given)}: contains NUL characters; {name_another()}")
        return text, Encoding(given)
    encoding = detect_encoding(data.splitlines(keepends=True), name, declared)
    try:
        return data.decode(encoding.name, encoding.errors), encoding
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{name}: not {encoding.name}, although it looks like it (byte {error.start:,}); convert it to UTF-8"
        ) from None


def name_another() -> str:
    """Return what to do about a text that is not in the encoding that was given."""
    return worded(
        "name another encoding, Fields(encoding=...), or leave it out, so that it is detected",
        http="convert it to that encoding",
        command="name another encoding with --encoding, or leave it out, so that it is detected",
    )


def not_in(encoding: str) -> str:
    """Return what is wrong with a text that cannot be decoded as was asked for."""
    origin = worded(
        "as which Fields(encoding=...) has it read",
        http="as which the index reads files",
        command="as which --encoding has it read",
    )
    return f"not {_shown(encoding)}, {origin}"


def check_mark(start: bytes, name: str, encoding: str) -> None:
    """Raise InputFileError if a file that begins so has the byte order mark of another encoding than was asked for."""
    mark, marked = next(((mark, marked) for mark, marked in _MARKS if start.startswith(mark)), (b"", ""))
    if not mark or encoding == marked:
        return
    # One that names its byte order leaves the mark in the text.
    if not encoding.startswith("utf") or not start.startswith("\ufeff".encode(encoding)):
        raise InputFileError(
            f"{name}: {not_in(encoding)}: has the byte order mark of {_shown(marked)}; {name_another()}"
        )


def _shown(encoding: str) -> str:
    """Return an encoding's name as people write it."""
    return encoding.removesuffix("-sig")


def decoded_lines(stream: TextIO, name: str, size: int, fault: str) -> Iterator[str]:
    """Yield the lines of an open file, with their ends, without the mark before the first.

    A line of more than `size` characters comes in parts.

    Raises:
        InputFileError: a line is not in the stream's encoding; `fault` says so.
    """
    number = 0
    try:
        while line := stream.readline(size):
            number += 1
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError:
        raise InputFileError(f"{name}:{number + 1}: {fault}") from None


class _UnpackedBytes(io.BufferedIOBase):
    """The bytes of an open file, counted against `ReadingLimits.unpacked_bytes` where it is compressed."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self.name = file, name
        self._unpacked = 0
        self._limit = reading_limits().unpacked_bytes

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._unpacked += len(data)
        check_unpacked(self._unpacked, self._limit, self.name)
        return data


def read_encoded_lines(path: Path, name: str, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its end) of a file in a given encoding.

    Raises:
        InputFileError: the file cannot be read, is in another encoding, has a line that is too long, or unpacks to too
            much.
    """
    limit = reading_limits().record_bytes
    with open_file(path, name) as file:
        check_mark(file.read(_MARK_BYTES), name, encoding)
    fault = f"{not_in(encoding)}; {name_another()}"
    with (
        open_file(path, name) as file,
        io.TextIOWrapper(_UnpackedBytes(file, name), encoding, newline="\n") as stream,
    ):
        for number, line in enumerate(decoded_lines(stream, name, limit + 1, fault), 1):
            if len(line) > limit:
                raise InputFileError(f"{name}:{number}: {too_long('a line')}")
            yield number, line


def read_lines(path: Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its end), holding one line at a time.

    Args:
        path: the file.
        name: its name in messages; None: its path.

    Raises:
        InputFileError: the file cannot be read, is not gzip-compressed although its name ends in .gz, is not UTF-8, or
            has a line that is too long.
    """
    label = name or str(path)
    for number, line in read_raw_lines(path, label):
        yield number, decode_line(line, label, number)


def decode_line(line: bytes, name: str, number: int) -> str:
    """Return a line as text; InputFileError where it is not UTF-8, or too long."""
    if len(line) > reading_limits().record_bytes:
        raise InputFileError(f"{name}:{number}: {too_long('a line')}")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{name}:{number}: not UTF-8 (byte 0x{line[error.start]:02x} at column {error.start + 1}); "
            f"{_line_fix(line, name)}"
        ) from None


def _line_fix(line: bytes, name: str) -> str:
    """Return what to do about a line that is not UTF-8."""
    try:
        encoding = detect_encoding([line], name, allow_nul=True)
    except InputFileError:
        return "convert the file to UTF-8"
    if encoding.broken:
        return "correct the line"
    convert = f"convert the file: iconv -f {encoding.name} -t UTF-8"
    fix = worded(
        f"name its encoding, Fields(encoding={encoding.name!r}), or {convert}",
        http=convert,
        command=f"name its encoding, --encoding {encoding.name}, or {convert}",
    )
    return f"it looks like {encoding.name}: {fix}"


def detect_encoding(
    lines: Iterable[bytes], name: str, declared: str | None = None, *, allow_nul: bool = False
) -> Encoding:
    """Return the encoding of a file's lines, holding only some of them; arguments and errors as of `decode`.

    With `allow_nul` only a first line with NUL bytes is an error.
    """
    first = True
    sample: list[bytes] = []
    switched: list[bytes] = []
    size = 0
    utf8 = _Utf8Check()
    for line in lines:
        if first:
            first = False
            marked = next((encoding for mark, encoding in _MARKS if line.startswith(mark)), None)
            # Text after the mark of UTF-8 may still not be UTF-8.
            if marked is not None and marked != "utf-8-sig":
                return Encoding(marked)
            utf16 = _utf16_without_mark(line)
            if utf16 is not None:
                return Encoding(utf16)
            allow_nul = allow_nul and b"\x00" not in line
        if size < _SAMPLE and not line.isascii():
            sample.append(line)
            size += len(line)
        if not allow_nul and b"\x00" in line:
            raise InputFileError(f"{name}: not a text file: contains NUL bytes; convert it to text first")
        utf8.add(line)
        if not sample and b"\x1b$" in line and len(switched) < _SWITCHED_LINES and _SWITCH.search(line):
            switched.append(line)
        if size >= _SAMPLE and not utf8.is_likely():
            break
    if not utf8.broken:
        return Encoding((_switched(b"".join(switched)) if not sample else None) or "utf-8-sig")
    if utf8.is_likely():
        return Encoding("utf-8-sig", first_broken=utf8.first_broken, broken=utf8.broken)
    letters = b"".join(sample)
    validated = _validated(declared, letters)
    return Encoding(validated) if validated is not None else _guess(letters, name)


class _Utf8Check:
    """Counts what is valid UTF-8 in lines, and what is not."""

    def __init__(self) -> None:
        self.first_broken = self.broken = 0
        self._lines = self._letters = self._faults = 0
        self._last_is_cut = False

    def add(self, line: bytes) -> None:
        """Count the next line."""
        self._lines += 1
        self._last_is_cut = False
        if line.isascii():
            return
        try:
            text, faults = line.decode("utf-8"), 0
        except UnicodeDecodeError as error:
            self.broken += 1
            self.first_broken = self.first_broken or self._lines
            # One byte alone may be the last letter of text in an encoding of one byte a letter.
            self._last_is_cut = error.reason == "unexpected end of data" and error.end - error.start > 1
            text = line.decode("utf-8", "replace")
            faults = text.count("\ufffd")
        self._faults += faults
        self._letters += len(text) - len(text.encode("ascii", "ignore")) - faults

    def is_likely(self) -> bool:
        """Return whether the text is UTF-8, but for some broken letters: others have few sequences that are valid."""
        return self._letters >= 2 * self._faults or (self._last_is_cut and self.broken == 1)


def _switched(lines: bytes) -> str | None:
    """Return the encoding of lines of seven bits whose switches lead to other letters; None where they do not."""
    korean = b"\x1b$)C" in lines
    for encoding in _SWITCHED:
        # Korean text names its letters once, in its first line, and switches by other signs.
        if (encoding == "iso2022_kr") == korean and _fits(lines, encoding):
            text = lines.decode(encoding)
            return encoding if korean or not (text.isascii() or "\x1b" in text) else None
    return None


def _utf16_without_mark(line: bytes) -> str | None:
    """Return the UTF-16 of text in Latin letters without a mark: every other byte is NUL."""
    start = line[:_UTF16_SAMPLE]
    half = max(len(start) // 2, 1)
    if start[1::2].count(0) > _MIN_NUL_RATIO * half and not start[::2].count(0):
        return "utf-16-le"
    if start[::2].count(0) > _MIN_NUL_RATIO * half and not start[1::2].count(0):
        return "utf-16-be"
    return None


def known_encoding(declared: str) -> str | None:
    """Return Python's name of the encoding that a file declares; None where it is unknown, or not one of files."""
    try:
        encoding = codecs.lookup(declared).name if len(declared) <= _MAX_NAME else None
    # ValueError: it has NUL or lone surrogates.
    except (LookupError, ValueError):
        return None
    return None if encoding in _NOT_OF_FILES else encoding


def _validated(declared: str | None, sample: bytes) -> str | None:
    encoding = known_encoding(declared or "")
    if encoding is None:
        return None
    encoding = _SUPERSETS.get(encoding, encoding)
    try:
        sample.decode(encoding)
    # A codec that is not a text encoding, such as "hex", raises LookupError.
    except (LookupError, ValueError):
        return None
    return encoding


def _guess(sample: bytes, name: str) -> Encoding:
    if len(_BINARY.findall(sample)) * 100 > len(sample):
        raise InputFileError(f"{name}: not a text file: contains control characters; convert it to text first")
    try:
        import chardet
    except ImportError:
        raise MissingExtraError(name, "not UTF-8; detecting its encoding", "ingest") from None
    guesses = chardet.detect_all(sample, include_encodings=_CANDIDATES, compat_names=False, max_bytes=_SAMPLE)
    encodings = (guess["encoding"] for guess in guesses)
    best = next((encoding for encoding in encodings if encoding is not None and _fits(sample, encoding)), None)
    if best is None:
        fix = worded(
            "name it, Fields(encoding=...), or convert it to UTF-8",
            http="convert it to UTF-8",
            command="name it with --encoding, or convert it to UTF-8",
        )
        raise InputFileError(f"{name}: unknown encoding; {fix}")
    return Encoding(best, is_guess=True)


def _fits(sample: bytes, encoding: str) -> bool:
    try:
        sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
