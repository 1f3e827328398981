"""Detection of a text file's encoding: by its byte order mark, as UTF-8, as it declares, or by its letters.

UTF-8 comes before the declaration, because text in another encoding is rarely valid UTF-8 by chance, while declarations
are often wrong.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

from serotine.errors import InputFileError, MissingExtraError

UTF8 = "utf-8"
# The marks of UTF-32 begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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
# Encodings common in text files. Among all that Python supports, the guess would prefer rare ones.
_CANDIDATES = (
    *("cp1252", "cp932", "euc_jp", "gb18030", "big5hkscs", "cp949", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255"),
    *("cp1256", "cp1257", "cp1258", "cp874", "koi8_r"),
)
_SAMPLE = 1 << 17
_UTF16_SAMPLE = 1 << 12
_MIN_NUL_RATIO = 0.3
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")


def decode(data: bytes, name: str, declared: str | None = None) -> tuple[str, str]:
    """Return a text and the Python name of its encoding.

    Args:
        data: the bytes of a file.
        name: its name in messages.
        declared: the encoding that the file declares.

    Raises:
        InputFileError: it is not text, or its encoding is unknown.
    """
    encoding = detect_encoding(data.splitlines(keepends=True), name, declared)
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{name}: not {encoding}, although it looks like it (byte {error.start:,}); convert it to UTF-8"
        ) from None


def detect_encoding(lines: Iterable[bytes], name: str, declared: str | None = None) -> str:
    """Return the encoding of a file's lines, holding only some of them; arguments and errors as of `decode`."""
    valid, first = True, True
    sample: list[bytes] = []
    size = 0
    for line in lines:
        if first:
            first = False
            marked = next((encoding for mark, encoding in _MARKS if line.startswith(mark)), None)
            # Text after the mark of UTF-8 may still not be UTF-8.
            if marked is not None and marked != "utf-8-sig":
                return marked
            utf16 = _utf16_without_mark(line)
            if utf16 is not None:
                return utf16
        if size < _SAMPLE and not line.isascii():
            sample.append(line)
            size += len(line)
        if b"\x00" in line:
            raise InputFileError(f"{name}: not a text file: contains NUL bytes; convert it to text first")
        if valid:
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                valid = False
        if not valid and size >= _SAMPLE:
            break
    if valid:
        return "utf-8-sig"
    letters = b"".join(sample)
    return _validated(declared, letters) or _guess(letters, name)


def _utf16_without_mark(line: bytes) -> str | None:
    """Return the UTF-16 of text in Latin letters without a mark: every other byte is NUL."""
    start = line[:_UTF16_SAMPLE]
    half = max(len(start) // 2, 1)
    if start[1::2].count(0) > _MIN_NUL_RATIO * half and not start[::2].count(0):
        return "utf-16-le"
    if start[::2].count(0) > _MIN_NUL_RATIO * half and not start[1::2].count(0):
        return "utf-16-be"
    return None


def _validated(declared: str | None, sample: bytes) -> str | None:
    try:
        encoding = codecs.lookup(declared or "").name
        encoding = _SUPERSETS.get(encoding, encoding)
        sample.decode(encoding)
    # A codec that is not a text encoding, such as "hex", raises LookupError.
    except (LookupError, ValueError):
        return None
    return encoding


def _guess(sample: bytes, name: str) -> str:
    if len(_BINARY.findall(sample)) * 100 > len(sample):
        raise InputFileError(f"{name}: not a text file: contains control characters; convert it to text first")
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise MissingExtraError(name, "not UTF-8; detecting its encoding", "ingest") from None
    matches = from_bytes(sample, cp_isolation=list(_CANDIDATES))
    best = matches.best()
    if best is None:
        raise InputFileError(f"{name}: unknown encoding; convert it to UTF-8")
    # Short texts fit several encodings equally well: the most frequent wins.
    common = next((match for match in matches if match.encoding == _CANDIDATES[0]), best)
    return str((common if (common.chaos, -common.coherence) <= (best.chaos, -best.coherence) else best).encoding)
