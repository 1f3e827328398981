"""Subtitles: what is said, without numbers and times; a passage names the times where it begins and ends."""

from __future__ import annotations

import html
import re

from serotine.errors import InputFileError
from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, Positions, Section

_TIME = r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_CUE = re.compile(rf"[ \t]*({_TIME})[ \t]+-->[ \t]+{_TIME}[^\n]*")
_TAG = re.compile(r"</?[a-zA-Z0-9][^<>]*>|\{\\[^{}]*\}")
_SPEAKER = re.compile(r"<v(?:\.[\w.]+)?[ \t]++([^<>]++)>")
_SPACE = re.compile(r"[ \t]+")


def read_subtitles(data: bytes, name: str) -> Extract:
    """Return the text of a .srt or .vtt file, one line for each line that is shown.

    Raises:
        InputFileError: it is not text, or has no times.
    """
    source, encoding = decode(data, name)
    times: list[str] = []
    offsets: list[int] = []
    lines: list[str] = []
    length = 0
    for block in re.split(r"\n[ \t]*\n", source.replace("\r\n", "\n").replace("\r", "\n")):
        time, shown = _cue(block)
        if time and shown:
            times.append(time)
            offsets.append(length)
            for line in shown:
                lines.append(line)
                length += len(line) + 1
    if source.strip() and not times:
        raise InputFileError(f"{name}: contains no times such as 00:00:01,000 --> 00:00:04,000; rename it to .txt")
    text = "\n".join(lines)
    positions = (Positions("time", offsets, times),)
    return Extract(text, (Section(0, len(text)),), encoding.metadata, positions, problems=encoding.problems)


def _cue(block: str) -> tuple[str, list[str]]:
    """Return the time of a block, "hh:mm:ss", and its lines; no time for a comment or a style."""
    lines = block.strip("\n").split("\n")
    for i, line in enumerate(lines[:3]):
        match = _CUE.match(line)
        if match is not None:
            shown = [_clean(text) for text in lines[i + 1 :]]
            return _clock(match.group(1)), [text for text in shown if text]
    return "", []


def _clock(time: str) -> str:
    numbers = re.split(r"[.,]", time)[0].split(":")
    return ":".join(number.zfill(2) for number in (["00"] * (3 - len(numbers)) + numbers))


def _clean(line: str) -> str:
    line = _TAG.sub("", _SPEAKER.sub(r"\1: ", line))
    return _SPACE.sub(" ", html.unescape(line)).strip()
