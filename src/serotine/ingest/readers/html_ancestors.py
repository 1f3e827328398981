"""The ancestors of the nodes of a page, each examined once, however many nodes are below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode


class Ancestors:
    """Whether any ancestor of a node matches; each is examined once, however many nodes are below it."""

    def __init__(self, matches: Callable[[LexborNode], bool]) -> None:
        self._matches = matches
        # By node: whether it or one of its ancestors matches.
        self._known: dict[int, bool] = {}

    def match(self, node: LexborNode) -> bool:
        """Return whether an ancestor of a node matches."""
        examined = []
        matched = False
        parent = node.parent
        while parent is not None:
            known = self._known.get(parent.mem_id)
            examined.append(parent.mem_id)
            if known is not None or self._matches(parent):
                matched = known is not False
                break
            parent = parent.parent
        self._known.update(dict.fromkeys(examined, matched))
        return matched
