"""A real browser, where one is installed: a rendered page's DOM, and a screenshot of it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def _run(scratch: Path, *arguments: str) -> str:
    assert BROWSER is not None
    finished = subprocess.run(
        [BROWSER, *_QUIET, f"--user-data-dir={scratch}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return finished.stdout


def dom(page: Path, scratch: Path) -> str:
    """Return the rendered page's HTML."""
    return _run(scratch, "--dump-dom", page.as_uri())


def screenshot(page: Path, scratch: Path, *, size: tuple[int, int], dark: bool = False) -> list[bytes]:
    """Return the rows of a screenshot, three or four bytes per pixel."""
    picture = scratch.with_suffix(".png")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    _run(scratch, *scheme, f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}", page.as_uri())
    return _rows(picture.read_bytes())


def _rows(png: bytes) -> list[bytes]:
    """Decode an 8-bit PNG without interlacing, as Chromium writes it (ISO/IEC 15948)."""
    data, at, width, channels = b"", 8, 0, 0
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, _, depth, color_type, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
            channels = {2: 3, 6: 4}[color_type]
        elif kind == b"IDAT":
            data += body
        at += 12 + length
    raw = zlib.decompress(data)
    stride = width * channels
    rows: list[bytes] = []
    before = bytes(stride)
    for start in range(0, len(raw), stride + 1):
        before = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], before, channels)
        rows.append(before)
    return rows


def _unfiltered(kind: int, line: bytes, above: bytes, channels: int) -> bytes:
    if kind == 0:
        return line
    if kind == 2:
        return bytes((value + up) & 255 for value, up in zip(line, above, strict=True))
    out = bytearray(line)
    for i, value in enumerate(line):
        left = out[i - channels] if i >= channels else 0
        up = above[i]
        corner = above[i - channels] if i >= channels else 0
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) // 2
        else:
            guess = min((left, up, corner), key=lambda option: abs(left + up - corner - option))
        out[i] = (value + guess) & 255
    return bytes(out)
