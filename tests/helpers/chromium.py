"""The DOM and screenshots of pages in a real browser, where one is installed."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = (
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
    process = subprocess.run(
        [BROWSER, *_OPTIONS, f"--user-data-dir={scratch}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return process.stdout


def dom(page: Path, scratch: Path) -> str:
    """Return the rendered page's HTML."""
    return _run(scratch, "--dump-dom", page.as_uri())


def screenshot(page: Path, scratch: Path, *, size: tuple[int, int], dark: bool = False) -> list[bytes]:
    """Return the rows of a screenshot, three or four bytes per pixel."""
    screenshot_file = scratch.with_suffix(".png")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    _run(scratch, *scheme, f"--window-size={size[0]},{size[1]}", f"--screenshot={screenshot_file}", page.as_uri())
    return _rows(screenshot_file.read_bytes())


def _rows(png: bytes) -> list[bytes]:
    """Decode an 8-bit PNG without interlacing, as Chromium writes it (ISO/IEC 15948)."""
    data, at, width, channels = b"", 8, 0, 0
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        chunk_type, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if chunk_type == b"IHDR":
            width, _, depth, color_type, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
            channels = {2: 3, 6: 4}[color_type]
        elif chunk_type == b"IDAT":
            data += body
        at += 12 + length
    raw = zlib.decompress(data)
    stride = width * channels
    rows: list[bytes] = []
    previous = bytes(stride)
    for start in range(0, len(raw), stride + 1):
        previous = _unfilter(raw[start], raw[start + 1 : start + 1 + stride], previous, channels)
        rows.append(previous)
    return rows


def _unfilter(filter_type: int, line: bytes, above: bytes, channels: int) -> bytes:
    if filter_type == 0:
        return line
    if filter_type == 2:
        return bytes((value + up) & 255 for value, up in zip(line, above, strict=True))
    out = bytearray(line)
    for i, value in enumerate(line):
        left = out[i - channels] if i >= channels else 0
        up = above[i]
        corner = above[i - channels] if i >= channels else 0
        if filter_type == 1:
            predicted = left
        elif filter_type == 3:
            predicted = (left + up) // 2
        else:
            predicted = min((left, up, corner), key=lambda neighbor: abs(left + up - corner - neighbor))
        out[i] = (value + predicted) & 255
    return bytes(out)
