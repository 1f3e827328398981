"""Navigation between the pages of an HTML manual, which is no text of a page: "Next: ..., Up: ..., [Contents]"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from serotine.ingest.readers.html_ancestors import Ancestors

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_LINKS = ", ".join(
    f"a[rel~={relation} i]" for relation in ("next", "prev", "previous", "up", "contents", "toc", "index")
)
_LABEL = r"(?:next|prev|previous|up|top|home|first|last|start|contents|table of contents|toc|index)\b"
# What a bar of such links has beside their names: labels, and signs such as "|", "[", "<<" and arrows.
_LABELS = re.compile(rf"(?:\b{_LABEL}|[\W_])*+", re.IGNORECASE)
_ENDS_IN_LABEL = re.compile(rf"\b{_LABEL}\s*:\s*\Z", re.IGNORECASE)
_SIGNS = re.compile(r"[\W_]*")
_LABELED = re.compile(rf"\W*{_LABEL}\s*:", re.IGNORECASE)
# A bar is short, also where the links in it have long names.
_MAX_LENGTH = 2000
_MAX_NODES = 1000
_NO_BARS = frozenset(("body", "html", "h1", "h2", "h3", "h4", "h5", "h6"))


def navigation_ids(page: LexborHTMLParser) -> set[int]:
    """Return the ids (`mem_id`) of the nodes of navigation: bars of links, and single links with such a label.

    A link in a sentence is none ("continue with the next chapter").
    """
    links = page.css(_LINKS)
    link_ids = {link.mem_id for link in links}
    bars: dict[int, bool] = {}
    ids: set[int] = set()
    in_link = Ancestors(lambda parent: parent.mem_id in link_ids)
    for link in links:
        # Each would read all that is in it.
        if in_link.match(link):
            continue
        text = link.text()
        bar = link.mem_id if _LABELED.match(text) or _SIGNS.fullmatch(text) else None
        node = link.parent
        while node is not None and node.tag not in _NO_BARS:
            if node.mem_id not in bars:
                bars[node.mem_id] = _is_bar(node, link_ids)
            if not bars[node.mem_id]:
                break
            bar = node.mem_id
            node = node.parent
        if bar is not None:
            ids.add(bar)
    return ids


def _is_bar(node: LexborNode, link_ids: set[int]) -> bool:
    """Return whether a node has no text but such links and labels."""
    length = nodes = 0
    around: list[str] = []
    # Lazily: the first text of a large node ends it.
    pending = [(node.iter(include_text=True), False)]
    while pending:
        children, in_link = pending[-1]
        child = next(children, None)
        if child is None:
            pending.pop()
            continue
        if child.tag == "img":
            return False
        text = child.text_content or ""
        length += len(text)
        nodes += 1
        # Elements without a text may be nested in each other: each is a candidate, and would be read to its end.
        if length > _MAX_LENGTH or nodes > _MAX_NODES:
            return False
        # Below a page such links often have only their labels.
        is_link = child.mem_id in link_ids or (child.tag == "a" and _ENDS_IN_LABEL.search("".join(around[-1:])))
        if not in_link:
            around.append(text)
        pending.append((child.iter(include_text=True), in_link or bool(is_link)))
    return _LABELS.fullmatch(" ".join(around)) is not None
