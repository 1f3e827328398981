"""Source code, split at its definitions; a passage names its language, symbol and lines."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from serotine.errors import InputFileError, MissingExtraError
from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, Positions, Section
from serotine.ingest.readers import definitions
from serotine.ingest.readers.grammars import CPP, GRAMMARS, Grammar
from serotine.ingest.readers.reading_process import EndedError, ReadingProcesses, StartError

# A header of C++ rather than C.
_CPP_HEADER = re.compile(
    r"^[ \t]*+(?:class\s+\w|namespace\b|template\s*<|using\s|(?:public|private|protected)\s*:)", re.M
)
_LINE_END = re.compile(r"\r\n|\n|\r")
# What may follow a definition without being a text of its own: the ends of those it is in.
_REST = re.compile(r"(?:[\s{}()\[\];,]|\bend\b|//\s*(?:end\s+)?namespace[^\n]*+|#endif[^\n]*+)*+")
# Errors of syntax may take quadratic time and memory: 63 KB are then 12 GB. Code takes 20 to 80 bytes for a byte.
_MEMORY, _MEMORY_PER_BYTE = 1 << 28, 150
# Processor seconds. Code takes 0.1 to 0.6 microseconds for a byte.
_SECONDS, _SECONDS_PER_BYTE = 2.0, 4e-6
_PROCESSES = ReadingProcesses("source code", definitions)
_ONE_TEXT = "it was read as one text"


def code_reader(suffix: str) -> Callable[[bytes, str], Extract]:
    """Return the reader of source code with this suffix."""
    return partial(_read_code, GRAMMARS[suffix])


def _read_code(grammar: Grammar, data: bytes, name: str) -> Extract:
    """Return the text of a source file, one section for each definition and for what is between them.

    Raises:
        InputFileError: it is not text, tree-sitter is not installed, or its process does not start.
    """
    text, encoding = decode(data, name)
    if name.lower().removesuffix(".gz").endswith(".h") and _CPP_HEADER.search(text):
        grammar = CPP
    if any(importlib.util.find_spec(module) is None for module in ("tree_sitter", grammar.module)):
        raise MissingExtraError(name, "reading source code", "ingest")
    # Some grammars take the first half of a line end for a part of a word.
    source = text.encode().replace(b"\r\n", b" \n")
    starts: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    problems = list(encoding.problems)
    try:
        starts += _definition_starts(source, grammar)
    except _NotParsedError as error:
        problems.append((1, str(error)))
    except StartError as error:
        # Another time it is parsed: as one text it would be stored for good.
        raise InputFileError(f"{name}: {error}") from None
    lines = [0, *(match.end() for match in _LINE_END.finditer(text) if match.end() < len(text))]
    return Extract(
        text,
        tuple(_sections(text, _in_characters(starts, source, text))) or (Section(0, len(text)),),
        {"language": grammar.language, **encoding.metadata},
        (Positions("line", lines, range(1, len(lines) + 1)),),
        ("symbol", grammar.separator),
        problems=tuple(problems),
    )


class _NotParsedError(Exception):
    """The definitions of a source are not known; the message says why."""


def _definition_starts(source: bytes, grammar: Grammar) -> list[tuple[int, tuple[str, ...]]]:
    """Return where definitions begin, in bytes, with their names; and what follows them, with the names around it."""
    try:
        try:
            (message,) = _messages(source, grammar)
        except EndedError as error:
            if error.is_of_file:
                raise
            # Something else has ended the process, such as the system for want of memory.
            (message,) = _messages(source, grammar)
    except EndedError:
        raise _NotParsedError(f"too many errors of syntax to find definitions; {_ONE_TEXT}") from None
    if "problem" in message:
        raise _NotParsedError(f"{message['problem']}; {_ONE_TEXT}")
    paths: list[tuple[str, ...]] = [()]
    for outer, name in message["paths"]:
        paths.append((*paths[outer], name))
    return [(start, paths[number]) for start, number in message["starts"]]


def _messages(source: bytes, grammar: Grammar) -> Iterator[dict[str, Any]]:
    """Return the messages of `definitions.read`, which runs in another process."""
    arguments: dict[str, Any] = {
        "module": grammar.module,
        "function": grammar.function,
        "scopes": sorted(grammar.scopes),
        "definitions": sorted(grammar.definitions),
    }
    memory = _MEMORY + _MEMORY_PER_BYTE * len(source)
    seconds = _SECONDS + _SECONDS_PER_BYTE * len(source)
    return _PROCESSES.read(source, arguments, memory=memory, seconds=seconds)


def _sections(text: str, starts: list[tuple[int, tuple[str, ...]]]) -> Iterator[Section]:
    """Yield the sections that begin at some offsets, each with its symbol; without those of brackets alone."""
    sections: list[tuple[int, tuple[str, ...]]] = []
    for i, (start, path) in enumerate(starts):
        end = starts[i + 1][0] if i + 1 < len(starts) else len(text)
        continues = sections and sections[-1][1] == path
        if not continues and _REST.fullmatch(text, start, end) is None:
            sections.append((start if sections else 0, path))
    for i, (start, path) in enumerate(sections):
        yield Section(start, sections[i + 1][0] if i + 1 < len(sections) else len(text), path, separate=True)


def _in_characters(
    starts: list[tuple[int, tuple[str, ...]]], source: bytes, text: str
) -> list[tuple[int, tuple[str, ...]]]:
    """Return offsets in bytes as offsets in characters, ascending."""
    ordered = sorted(starts, key=lambda item: item[0])
    if len(source) == len(text):
        return ordered
    converted = []
    at = characters = 0
    for offset, path in ordered:
        characters += len(source[at:offset].decode("utf-8", "ignore"))
        at = offset
        converted.append((characters, path))
    return converted
