"""Where the definitions of source code begin, by tree-sitter; a module of `reading_program`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

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
_MAX_NAME = 200


class _Grammar(NamedTuple):
    """The nodes that are definitions: of a `Grammar`."""

    scopes: frozenset[str]
    definitions: frozenset[str]


def prepare() -> None:
    """Import tree-sitter."""
    import tree_sitter  # noqa: F401


def read(
    data: bytes, module: str, function: str, scopes: list[str], definitions: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield {"paths": [[number of the outer path, name], ...], "starts": [[offset in bytes, number of a path], ...]}.

    `starts` are where definitions begin, and what follows them. Path 0 is that of no definition; the others are
    numbered from 1, each after its outer one: a name is sent once, however many definitions it contains.

    Args:
        data: the source.
        module: as in `Grammar`, like all that follow.
        function: of the module.
        scopes: nodes.
        definitions: nodes.
    """
    root = _parser(module, function).parse(data).root_node
    grammar = _Grammar(frozenset(scopes), frozenset(definitions))
    numbers: dict[tuple[str, ...], int] = {(): 0}
    paths: list[tuple[int, str]] = []
    starts = []
    for start, path in _starts(root, data, grammar):
        for length in range(1, len(path) + 1):
            if path[:length] not in numbers:
                numbers[path[:length]] = len(numbers)
                paths.append((numbers[path[: length - 1]], path[length - 1]))
        starts.append((start, numbers[path]))
    yield {"paths": paths, "starts": starts}


@cache
def _parser(module: str, function: str) -> Parser:
    from tree_sitter import Language, Parser

    return Parser(Language(getattr(importlib.import_module(module), function)()))


def _starts(root: Node, source: bytes, grammar: _Grammar) -> Iterator[tuple[int, tuple[str, ...]]]:
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


def _definition(node: Node, grammar: _Grammar) -> Node | None:
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
        # Generic arguments are not part of the name.
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
