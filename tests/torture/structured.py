"""Mutations of what is inside a file, so that its container still opens: archives of XML, notebooks, e-mails."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUFFIXES = (".docx", ".eml", ".epub", ".ipynb", ".odt", ".pptx", ".xlsx")
"""Types that `restructured` knows."""
_MAX_BYTES = 4 << 20
_TAGS = re.compile(rb"(<[^<>]*>)")
_ATTRIBUTE = re.compile(rb"(\s[\w:.-]+\s*=\s*)([\"'])(.*?)\2", re.DOTALL)
_NAME = re.compile(rb"</?([\w:.-]+)")
_VALUES = (
    b"", b"-1", b"0", b"1", b"true", b"NaN", b"1e999", b"9" * 400, b"18446744073709551616", b"2026-13-45T99:99:99Z",
    b"../../x", b"/", b"%00", b"http://localhost/", b"rId1", b"s", b"d", b"e", b"b", b"str", b"inlineStr", b"A0",
    b"XFD1048576", b"ZZZZZZ99999999", b"A1:XFD1048576", b"text/html", b"heading 1", b"&#55296;", b"&amp;" * 50,
    "\u202e\ufeff".encode(), b"\xff", b"\0", b"x" * 70_000,
)  # fmt: skip
_INSERTED = (
    b'<!DOCTYPE a [<!ENTITY b "c">]>', b"<![CDATA[]]>", b"<!-- -- -->", b"<?xml version='1.0' encoding='utf-7'?>",
    b"<?a b?>", b"<a xmlns='b'/>", b"<a:b/>", b"&undefined;", b"</a>",
)  # fmt: skip
_JSON = (
    None, True, 0, -1, 1.5, 1 << 70, float("nan"), "", "\ud800", "\x1b[31m", "x" * 70_000, [], {}, [[]], {"a": None},
    [None] * 100, ["\0", 1], {"image/png": 1, "text/plain": {}}, "code", "markdown", "error",
)  # fmt: skip
_HEADERS = (
    b"Content-Type: multipart/mixed", b"Content-Type: multipart/alternative; boundary=x", b"Content-Type: ;;;=",
    b"Content-Type: text/html; charset=utf-7", b"Content-Type: message/rfc822",
    b"Content-Type: text/plain; charset=idna",
    b"Content-Type: text/plain; charset*0*=utf-16''%00", b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: x-uuencode", b"Content-Transfer-Encoding: quoted-printable",
    b"Content-Disposition: attachment; filename*=a'b'%", b"Subject: =?utf-8?b?////?=", b"Subject: =?x?q?=00=ff?=",
    b'From: <<<@>>>, "', b"To: a:b;c:d", b"Date: Thu, 99 Foo 99999 99:99:99 +9999999", b"Message-ID: <\xff",
    b"Subject: \xff\xfe\0", b"X" * 5_000 + b": y", b"Subject:" + b" =?utf-8?q?a?=" * 200,
)  # fmt: skip
# Of an entry in the central directory: offset and size of flags, method, checksum, sizes, and lengths of what follows.
_FIELDS = ((8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (30, "H"), (32, "H"), (42, "I"))


def restructured(name: str, data: bytes, rng: random.Random) -> bytes:
    """Return a file of one of `SUFFIXES` with one to four changes of its contents."""
    suffix = Path(name).suffix
    if suffix == ".ipynb":
        return _changed_json(data, rng)
    if suffix == ".eml":
        return _changed_message(data, rng)
    return _changed_archive(data, rng)


def _changed_archive(data: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    for _ in range(rng.randint(1, 2)):
        texts = [i for i, (_, content) in enumerate(entries) if content.lstrip().startswith(b"<")]
        if not texts:
            break
        # Small ones more often: what they say decides what else is read.
        chosen = min(rng.sample(texts, min(2, len(texts))), key=lambda i: len(entries[i][1]))
        other = rng.randrange(len(entries))
        entry, content = entries[chosen]
        way = rng.random()
        if way < 0.85:
            entries[chosen] = entry, changed_xml(content, rng)
        elif way < 0.88:
            del entries[chosen]
        elif way < 0.91:
            entries[chosen] = entries[other][0], content
        elif way < 0.94:
            entries[chosen] = entry, entries[other][1]
        elif way < 0.97:
            entries[chosen] = (
                entry,
                content.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-8-sig", "utf-32"))),
            )
        else:
            entries.append((entry, changed_xml(content, rng)))
    buffer = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for entry, content in entries:
            # Of one date, so that a seed gives one file.
            archive.writestr(zipfile.ZipInfo(entry), content, method)
    written = bytearray(buffer.getvalue())
    if rng.random() < 0.1:
        _lie(written, rng)
    return bytes(written)


def _lie(archive: bytearray, rng: random.Random) -> None:
    """Change a field of the central directory."""
    starts = [match.start() for match in re.finditer(rb"PK\x01\x02", archive)]
    offset, kind = rng.choice(_FIELDS)
    value = rng.choice(
        (0, 1, 9, 0xFFFF, rng.getrandbits(16), *((0xFFFFFFFF, rng.getrandbits(32)) if kind == "I" else ()))
    )
    struct.pack_into(f"<{kind}", archive, rng.choice(starts) + offset, value)


def changed_xml(data: bytes, rng: random.Random) -> bytes:
    """Return XML with one to four changes of its elements, attributes and texts."""
    for _ in range(rng.randint(1, 4)):
        # Even places have texts, odd ones tags.
        pieces = _TAGS.split(data)
        if len(pieces) < 4:
            break
        rng.choice(_XML_CHANGES)(pieces, rng)
        changed = b"".join(pieces)
        if len(changed) <= _MAX_BYTES:
            data = changed
    return data


def _value(pieces: list[bytes], rng: random.Random) -> bytes:
    """Return a hostile value, or one of another attribute."""
    found = _ATTRIBUTE.findall(rng.choice(pieces[1::2]))
    return bytes(rng.choice(found)[2]) if found and rng.random() < 0.5 else rng.choice(_VALUES)


def _change_attribute(pieces: list[bytes], rng: random.Random) -> None:
    place = rng.randrange(1, len(pieces), 2)
    matches = list(_ATTRIBUTE.finditer(pieces[place]))
    if matches:
        match = rng.choice(matches)
        # The attribute goes, or gets another value.
        new = b"" if rng.random() < 0.2 else match[1] + match[2] + _value(pieces, rng) + match[2]
        pieces[place] = pieces[place][: match.start()] + new + pieces[place][match.end() :]


def _change_text(pieces: list[bytes], rng: random.Random) -> None:
    filled = [i for i in range(0, len(pieces), 2) if pieces[i].strip()] or list(range(2, len(pieces) - 1, 2))
    pieces[rng.choice(filled)] = _value(pieces, rng)


def _insert(pieces: list[bytes], rng: random.Random) -> None:
    pieces[rng.randrange(0, len(pieces), 2)] += rng.choice(_INSERTED)


def _rename(pieces: list[bytes], rng: random.Random) -> None:
    names = sorted({match[1] for piece in pieces[1::2] if (match := _NAME.match(piece))})
    old, new = rng.choice(names), rng.choice(names)
    pattern = re.compile(rb"(</?)" + re.escape(old) + rb"(?=[\s/>])")
    pieces[1::2] = [pattern.sub(rb"\g<1>" + new, piece) for piece in pieces[1::2]]


def _change_element(pieces: list[bytes], rng: random.Random) -> None:
    """Delete an element, repeat it, nest it in itself, or move it."""
    openings = [i for i in range(1, len(pieces), 2) if pieces[i][1:2] not in (b"/", b"?", b"!")]
    if not openings:
        return
    start = rng.choice(openings)
    end = _end(pieces, start)
    element = pieces[start : end + 1]
    size = sum(map(len, element))
    way = rng.randrange(4)
    if way == 0:
        pieces[start : end + 1] = [b""]
    elif way == 1:
        pieces[start] = b"".join(element) * min(rng.choice((2, 20, 2000)), 1 + _MAX_BYTES // (2 * size))
        del pieces[start + 1 : end + 1]
    elif way == 2 and end > start:
        depth = rng.choice((1, 50, 300))
        pieces[start] = pieces[start] * depth + pieces[start]
        pieces[end] = pieces[end] * depth + pieces[end]
    else:
        pieces[start : end + 1] = [b""]
        pieces[rng.randrange(len(pieces))] += b"".join(element)


def _end(pieces: list[bytes], start: int) -> int:
    """Return the place of the tag that closes an element."""
    depth = 0
    for i in range(start, len(pieces), 2):
        if pieces[i].startswith(b"</"):
            depth -= 1
        elif not pieces[i].endswith(b"/>") and pieces[i][1:2] not in (b"?", b"!"):
            depth += 1
        if depth <= 0:
            return i
    return start


_XML_CHANGES: tuple[Callable[[list[bytes], random.Random], None], ...] = (
    _change_attribute,
    _change_attribute,
    _change_text,
    _change_element,
    _change_element,
    _rename,
    _insert,
)


def _changed_json(data: bytes, rng: random.Random) -> bytes:
    root = [json.loads(data)]
    for _ in range(rng.randint(1, 4)):
        places = _places(root)
        holder, key = rng.choice(places)
        way = rng.random()
        if way < 0.6:
            holder[key] = rng.choice(_JSON)
        elif way < 0.75 and holder is not root:
            del holder[key]
        elif way < 0.9:
            # Written as a value before a change could reach both.
            other, other_key = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[other_key]))
        elif isinstance(holder[key], list):
            holder[key] = holder[key] * rng.choice((2, 50))
        elif isinstance(holder[key], dict):
            holder[key][rng.choice(("attachments", "outputs", "data", "source", "title", "name"))] = rng.choice(_JSON)
    return json.dumps(root[0], ensure_ascii=True).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (list or object, key) in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    places: list[tuple[Any, Any]] = []
    for key in keys:
        places += [(value, key), *_places(value[key])]
    return places


def _changed_message(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(lines))
        way = rng.randrange(5)
        if way == 0:
            lines.insert(place, rng.choice(_HEADERS) + b"\n")
        elif way == 1:
            headers = [i for i, line in enumerate(lines) if b":" in line] or [place]
            lines[rng.choice(headers)] = rng.choice(_HEADERS) + b"\n"
        elif way == 2 and len(lines) > 1:
            del lines[place]
        elif way == 3:
            # A boundary, a header or a body, where none is expected.
            lines.insert(place, rng.choice(lines) * rng.choice((1, 1, 300)))
        else:
            lines[place] = rng.choice(_VALUES) + b"\n"
    return b"".join(lines)
