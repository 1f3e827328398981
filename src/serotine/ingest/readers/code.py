"""Source code, split at its definitions; a passage names its language, symbol and lines."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING

from serotine.errors import MissingExtraError
from serotine.ingest.decoding import decode
from serotine.ingest.extract import Extract, Positions, Section
from serotine.ingest.readers.grammars import CPP, GRAMMARS, Grammar

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

# A header of C++ rather than C.
_CPP_HEADER = re.compile(
    r"^[ \t]*+(?:class\s+\w|namespace\b|template\s*<|using\s|(?:public|private|protected)\s*:)", re.M
)
_LINE_END = re.compile(r"\r\n|\n|\r")
# What may follow a definition without being a text of its own: the ends of those it is in.
_REST = re.compile(r"(?:[\s{}()\[\];,]|\bend\b|//\s*(?:end\s+)?namespace[^\n]*+|#endif[^\n]*+)*+")
# Nodes without a name around definitions: bodies, decorators, exports, conditions of the preprocessor.
_TRANSPARENT = frozenset(
    (
        *("body_statement", "block", "class_body", "declaration_list", "declaration", "decorated_definition"),
        *("enum_body", "enum_body_declarations", "export_statement", "expression_statement", "field_declaration_list"),
        *("if_statement", "interface_body", "linkage_specification", "namespace_definition", "preproc_elif"),
        *("preproc_else", "preproc_if", "preproc_ifdef", "preproc_ifndef", "statement_block", "template_declaration"),
        *("ambient_declaration", "field_declaration", "enum_declaration_list", "try_statement", "else_clause"),
    )
)
_ATTACHED = frozenset(("attribute_item", "attribute_list", "block_comment", "comment", "decorator", "line_comment"))
_FUNCTIONS = frozenset(("arrow_function", "function", "function_expression", "generator_function", "class"))
_NAMES = frozenset(
    (
        *("identifier", "field_identifier", "type_identifier", "qualified_identifier", "destructor_name"),
        *(
            "operator_name",
            "operator_cast",
            "namespace_identifier",
            "nested_namespace_specifier",
            "property_identifier",
        ),
    )
)
# White space within a line, and the punctuation that may end one.
_BLANK = b" \t\r\v\f"
_NEWLINE = ord("\n")
_LINE_REST = re.compile(rb"[ \t\r;,)]*+(?:\n|\Z)")
_MAX_DEPTH = 60
# Bytes that are parsed at once in any case. Of "a=>a=>" in C, 1 KB take 0.1 seconds and 40 MB, 8 KB take 2.4 GB.
_PART = 1 << 10
_GROWTH = 4
# Processor time that errors of syntax may take in a part of a source, and in all of it. Code takes 0.1 microseconds
# for a byte.
_PART_SECONDS, _SECONDS, _SECONDS_PER_BYTE = 0.02, 3.0, 5e-7
_NOT_PARSED = (1, "too many errors of syntax to find definitions; it was read as one text")
_MAX_NAME = 200


def code_reader(suffix: str) -> Callable[[bytes, str], Extract]:
    """Return the reader of source code with this suffix."""
    return partial(_read_code, GRAMMARS[suffix])


def _read_code(grammar: Grammar, data: bytes, name: str) -> Extract:
    """Return the text of a source file, one section for each definition and for what is between them.

    Raises:
        InputFileError: it is not text, or tree-sitter is not installed.
    """
    text, encoding = decode(data, name)
    if name.lower().removesuffix(".gz").endswith(".h") and _CPP_HEADER.search(text):
        grammar = CPP
    try:
        parser = _parser(grammar)
    except ImportError:
        raise MissingExtraError(name, "reading source code", "ingest") from None
    # Some grammars take the first half of a line end for a part of a word.
    source = text.encode().replace(b"\r\n", b" \n")
    root = _parsed(parser, source)
    starts: list[tuple[int, tuple[str, ...]]] = [(0, ()), *(_starts(root, source, grammar) if root else ())]
    lines = [0, *(match.end() for match in _LINE_END.finditer(text) if match.end() < len(text))]
    return Extract(
        text,
        tuple(_sections(text, _in_characters(starts, source, text))) or (Section(0, len(text)),),
        {"language": grammar.language, **encoding.metadata},
        (Positions("line", lines, range(1, len(lines) + 1)),),
        ("symbol", grammar.separator),
        problems=(*encoding.problems, *(() if root else (_NOT_PARSED,))),
    )


@cache
def _parser(grammar: Grammar) -> Parser:
    from tree_sitter import Language, Parser

    return Parser(Language(getattr(importlib.import_module(grammar.module), grammar.function)()))


def _parsed(parser: Parser, source: bytes) -> Node | None:
    """Return the root of the syntax tree; None where errors of syntax would take more than linear time.

    The step that takes quadratic time and memory cannot be stopped. So ever larger parts are parsed first: where those
    of one size are cheap, those of four times that size take sixteen times as much at most. Each begins in the last
    quarter of another, because what makes the rest expensive may be at the end of one.
    """
    size = _PART
    while size < len(source):
        for start in range(0, len(source) - size // 4, size * 3 // 4):
            part = source[start : start + size]
            # Twice, because the garbage collector may take as long meanwhile.
            if not (_is_cheap(parser, part) or _is_cheap(parser, part)):
                return None
        size *= _GROWTH
    return _parsed_in_time(parser, source, _SECONDS)


def _is_cheap(parser: Parser, part: bytes) -> bool:
    """Return whether errors of syntax take little time in a part of a source."""
    started = time.thread_time()
    root = _parsed_in_time(parser, part, _SECONDS)
    return root is not None and time.thread_time() - started - _SECONDS_PER_BYTE * len(part) <= _PART_SECONDS


def _parsed_in_time(parser: Parser, source: bytes, seconds: float) -> Node | None:
    end = time.thread_time() + seconds + 4 * _SECONDS_PER_BYTE * len(source)
    try:
        # Only a source that is read in parts has a callback.
        return parser.parse(
            lambda offset, _: source[offset : offset + _PART],
            progress_callback=lambda _offset, _has_error: time.thread_time() > end,
        ).root_node
    except ValueError:
        parser.reset()
        return None


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


def _starts(root: Node, source: bytes, grammar: Grammar) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield where definitions begin, in bytes, with their path; and where they end, with the path around them."""

    def walk(node: Node, path: tuple[str, ...], depth: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        start = previous_end = -1
        for child in node.children:
            if child.type in _ATTACHED:
                # Comments directly above a definition are a part of it.
                adjacent = start >= 0 and _blank_lines(source, previous_end, child.start_byte) == 0
                start = start if adjacent else child.start_byte
                previous_end = child.end_byte
                continue
            first = child.start_byte
            if start >= 0 and _blank_lines(source, previous_end, first) == 0:
                first = start
            start = -1
            target = _definition(child, grammar)
            if target is not None:
                name = _name(target)
                inner = (*path, name) if name else path
                if name:
                    yield _line_start(source, first), inner
                if target.type in grammar.scopes and depth < _MAX_DEPTH:
                    yield from walk(target, inner, depth + 1)
                if name:
                    yield _line_end(source, child.end_byte), path
            elif child.type in _TRANSPARENT and depth < _MAX_DEPTH:
                yield from walk(child, path, depth + 1)

    return walk(root, (), 0)


def _definition(node: Node, grammar: Grammar) -> Node | None:
    """Return the definition that a node is, or that it wraps; None if it is neither."""
    for _ in range(_MAX_DEPTH):
        if node.type in ("lexical_declaration", "variable_declaration"):
            values = [child.child_by_field_name("value") for child in node.named_children]
            return node if any(value is not None and value.type in _FUNCTIONS for value in values) else None
        if node.type in grammar.scopes or node.type in grammar.definitions:
            # "struct a b;" uses a type.
            uses = node.type.endswith("_specifier") and node.child_by_field_name("body") is None
            return None if uses else node
        if node.type not in ("decorated_definition", "export_statement", "template_declaration", "declaration"):
            return None
        wrapped = [child for child in node.named_children if child.type not in _ATTACHED]
        candidates = [child for child in wrapped if child.type in grammar.scopes | grammar.definitions]
        if node.type == "declaration" and not candidates:
            return None
        if not wrapped:
            return None
        node = candidates[0] if candidates else wrapped[-1]
    return None


def _name(node: Node) -> str:
    """Return the name of a definition, with the receiver of a method of Go; "" if it has none."""
    if node.type == "impl_item":
        # Generic arguments are no part of the name.
        kind = node.child_by_field_name("type")
        kind = kind.child_by_field_name("type") or kind if kind is not None else None
        return _text(kind)
    name = node.child_by_field_name("name")
    receiver = node.child_by_field_name("receiver")
    if receiver is not None and name is not None:
        match = re.search(r"(?<!\w)(\w++)\s*+(?:\[[^\[\]]*+\]\s*+)?\)\Z", _text(receiver))
        return f"{match.group(1)}.{_text(name)}" if match else _text(name)
    if name is None:
        name = (
            next(
                (found for child in node.named_children if (found := child.child_by_field_name("name")) is not None),
                None,
            )
            if node.type.endswith("_declaration")
            else None
        )
    declarator = node.child_by_field_name("declarator")
    while name is None and declarator is not None:
        if declarator.type in _NAMES:
            name = declarator
        inner = declarator.child_by_field_name("declarator")
        declarator = inner or next((child for child in declarator.named_children if child.type in _NAMES), None)
    return _text(name)


def _text(node: Node | None) -> str:
    text = b"" if node is None or node.text is None else node.text
    return " ".join(text.decode("utf-8", "replace").split())[:_MAX_NAME]


def _blank_lines(source: bytes, start: int, end: int) -> int:
    return max(source.count(b"\n", start, end) - 1, 0)


def _line_start(source: bytes, offset: int) -> int:
    """Return where the line of an offset begins, if only spaces are before it."""
    start = offset
    # Never the whole line: generated code has lines of megabytes with thousands of definitions.
    while start > 0 and source[start - 1] in _BLANK:
        start -= 1
    return start if start == 0 or source[start - 1] == _NEWLINE else offset


def _line_end(source: bytes, offset: int) -> int:
    """Return where the line after an offset begins, if only punctuation is before it."""
    rest = _LINE_REST.match(source, offset)
    return offset if rest is None else rest.end()


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
