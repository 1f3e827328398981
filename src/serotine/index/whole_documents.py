"""Documents that were split into passages, put together again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from serotine.cutting import PASSAGE_FIELDS, passage_id
from serotine.errors import UnknownIdError, shown_id
from serotine.index.store import Row


def ordered_passages(id_: str, passages: Sequence[Row]) -> list[Row]:
    """Return the passages of a document in the order of its text.

    Args:
        id_: the document's id.
        passages: all that are stored, in any order.

    Raises:
        UnknownIdError: some passages are missing, so that the document is no longer known.
    """
    ordered = sorted(passages, key=lambda row: _bound(row, "start"))
    if [row.id for row in ordered] != [passage_id(id_, number) for number in range(1, len(ordered) + 1)]:
        named = ", ".join(repr(row.id) for row in ordered[:3])
        raise UnknownIdError(
            f"ids: {shown_id(id_)} is not whole, only {len(ordered):,} of its passages are left: {named}"
        )
    return ordered


def whole_document(id_: str, ordered: Sequence[Row]) -> Row:
    """Return a document made of its passages in order: its whole text, and the metadata that all of them have.

    White space between passages that do not overlap is not stored: it becomes a space, or as many line breaks. A blank
    line separates a passage whose text was replaced: it shares no characters with its neighbors.
    """
    text = ordered[0].text or ""
    end = _bound(ordered[0], "end")
    for before, after in pairwise(ordered):
        start, addition = _bound(after, "start"), after.text or ""
        if _is_as_cut(before) and _is_as_cut(after):
            text += " " if start - end == 1 else "\n" * (start - end)
            text += addition[max(end - start, 0) :]
        else:
            text += f"\n\n{addition}"
        end = max(end, _bound(after, "end"))
    shared = {
        name: value
        for name, value in ordered[0].metadata.items()
        if name not in PASSAGE_FIELDS and all(name in row.metadata and row.metadata[name] == value for row in ordered)
    }
    return Row(ordered[0].number, id_, text, shared)


def _is_as_cut(row: Row) -> bool:
    """Return whether a passage has the text that was cut, as far as its length says."""
    return len(row.text or "") == _bound(row, "end") - _bound(row, "start")


def _bound(row: Row, name: str) -> int:
    """Return "start" or "end" of a passage; 0 where a caller's own metadata has none."""
    value = row.metadata.get(name)
    return value if isinstance(value, int) else 0
