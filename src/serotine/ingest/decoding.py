"""The encoding of a text file: by its byte order mark, as UTF-8, as it declares itself, or by its letters.

UTF-8 comes before what a file declares, because text in another encoding is hardly ever valid UTF-8 by chance, while
declarations are often wrong.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

from serotine.errors import InputFileError

UTF8 = "utf-8"
# The marks of UTF-32 begin with those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What Windows programs write under the names of smaller standards, as browsers read them too.
_WIDER = {
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
# Encodings of text files that are met. Left to choose among all that Python knows, the guess prefers rare ones.
_GUESSED = (
    *("cp1252", "cp932", "euc_jp", "gb18030", "big5hkscs", "cp949", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255"),
    *("cp1256", "cp1257", "cp1258", "cp874", "koi8_r"),
)
_SAMPLE = 1 << 17
_HALF_SAMPLE = 1 << 12
_WIDE_SHARE = 0.3
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")


def decode(data: bytes, name: str, declared: str | None = None) -> tuple[str, str]:
    """A text and its encoding, by Python's name.

    Args:
        data: the bytes of a file.
        name: what messages call it.
        declared: the encoding it claims for itself.

    Raises:
        InputFileError: it is no text, or its encoding is not known.
    """
    encoding = find_encoding(data.splitlines(keepends=True), name, declared)
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as error:
        raise InputFileError(
            f"{name}: is not {encoding}, though it looks like it (byte {error.start:,}); convert it to UTF-8"
        ) from None


def find_encoding(lines: Iterable[bytes], name: str, declared: str | None = None) -> str:
    """The encoding of a file's lines, of which only some are held; as `decode` otherwise."""
    valid, first = True, True
    sample: list[bytes] = []
    size = 0
    for line in lines:
        if first:
            first = False
            marked = next((encoding for mark, encoding in _MARKS if line.startswith(mark)), None)
            # The mark of UTF-8 stands before text that may still be no UTF-8.
            if marked is not None and marked != "utf-8-sig":
                return marked
            wide = _unmarked_utf16(line)
            if wide is not None:
                return wide
        if size < _SAMPLE and not line.isascii():
            sample.append(line)
            size += len(line)
        if b"\x00" in line:
            raise InputFileError(f"{name}: is no text, for it holds NUL bytes; convert it to text first")
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
    return _declared(declared, letters) or _guessed(letters, name)


def _unmarked_utf16(line: bytes) -> str | None:
    """UTF-16 without its mark: of text in Latin letters every other byte is NUL."""
    start = line[:_HALF_SAMPLE]
    half = max(len(start) // 2, 1)
    if start[1::2].count(0) > _WIDE_SHARE * half and not start[::2].count(0):
        return "utf-16-le"
    if start[::2].count(0) > _WIDE_SHARE * half and not start[1::2].count(0):
        return "utf-16-be"
    return None


def _declared(declared: str | None, sample: bytes) -> str | None:
    try:
        encoding = codecs.lookup(declared or "").name
        encoding = _WIDER.get(encoding, encoding)
        sample.decode(encoding)
    # A name of a codec that is no encoding of text, such as "hex", raises the first.
    except (LookupError, ValueError):
        return None
    return encoding


def _guessed(sample: bytes, name: str) -> str:
    if len(_BINARY.findall(sample)) * 100 > len(sample):
        raise InputFileError(f"{name}: is no text, for it holds control characters; convert it to text first")
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise InputFileError(
            f"{name}: is not UTF-8; to have its encoding found: pip install 'serotine[ingest]', or convert it"
        ) from None
    found = from_bytes(sample, cp_isolation=list(_GUESSED))
    best = found.best()
    if best is None:
        raise InputFileError(f"{name}: is in no encoding that is known; convert it to UTF-8")
    # Short texts fit several encodings equally well; the most frequent is meant.
    usual = next((each for each in found if each.encoding == _GUESSED[0]), best)
    return str((usual if (usual.chaos, -usual.coherence) <= (best.chaos, -best.coherence) else best).encoding)
