"""XML parsed without entities and external files, which could multiply or disclose."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from serotine.errors import InputFileError
from serotine.ingest.limits import reading_limits

# Readers walk trees by recursion.
_MAX_DEPTH = 256


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root element; names are "{namespace}local", as in ElementTree.

    Args:
        data: the bytes of an XML document.
        name: its name in messages.

    Raises:
        InputFileError: it is not well-formed, declares entities, is nested too deeply, or has too many elements.
    """
    builder = TreeBuilder()
    depth = values = 0
    most = reading_limits().values

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, values
        depth += 1
        values += 1 + len(attributes)
        if values > most:
            raise InputFileError(f"{name}: more than {most:,} elements and attributes; split it")
        if depth > _MAX_DEPTH:
            raise InputFileError(f"{name}: nested more than {_MAX_DEPTH} deep; check that it is the right file")
        builder.start(_name(tag), {_name(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_name(tag))

    def refuse_entity(*_: object) -> None:
        raise InputFileError(
            f"{name}: declares entities, which are not read; replace them first, for example with xmllint --noent"
        )

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse_entity
    try:
        parser.Parse(data, True)
        return builder.close()
    except expat.ExpatError as error:
        raise InputFileError(
            f"{name}:{error.lineno}: not valid XML ({expat.ErrorString(error.code)}); correct it"
        ) from None
    except (LookupError, ValueError, UnicodeError) as error:
        raise InputFileError(f"{name}: not valid XML ({error}); correct it") from None


def local(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def attribute(element: Element | None, name: str) -> str:
    """Return an attribute by its name without a namespace; "" if there is none."""
    if element is None:
        return ""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def count(element: Element, name: str, default: int, *, most: int) -> int:
    """Return an attribute that is a number from 0, at most `most`; the default where it is none."""
    digits = attribute(element, name)
    if not (digits.isascii() and digits.isdigit()):
        return default
    # Python refuses to convert thousands of digits.
    digits = digits.lstrip("0")
    return most if len(digits) > len(str(most)) else min(int(digits or "0"), most)


def outermost(element: Element, *names: str, outside: frozenset[str] = frozenset()) -> Iterator[Element]:
    """Yield the descendants with one of these names that are in no other of them, nor in an element of `outside`."""
    pending = [iter(element)]
    while pending:
        child = next(pending[-1], None)
        if child is None:
            pending.pop()
        elif (name := local(child)) in names:
            yield child
        elif name not in outside:
            pending.append(iter(child))


def first(element: Element, *names: str) -> Element | None:
    """Return the first descendant with one of these names, without namespaces."""
    return next((child for child in element.iter() if local(child) in names), None)


def all_of(element: Element, *names: str) -> Iterator[Element]:
    """Yield the descendants with one of these names, without namespaces."""
    return (child for child in element.iter() if local(child) in names)


def text_of(element: Element | None) -> str:
    """Return the text of an element and those in it, on one line."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _name(tag: str) -> str:
    return f"{{{tag}" if "}" in tag else tag
