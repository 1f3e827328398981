"""The fields of a file's records that are not in the metadata by their own names, or not used as their names say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from serotine.ingest.document import Document


@dataclass(slots=True)
class FieldNames:
    """Counts of such fields in the records of one file."""

    _renamed: Counter[tuple[str, str]] = field(default_factory=Counter)
    _unused: Counter[tuple[str, str]] = field(default_factory=Counter)
    _first_renamed: int = 0
    _first_unused: int = 0

    def count(self, record: Document) -> None:
        """Count the fields of a record, which may be its first passage."""
        if record.renamed:
            self._first_renamed = self._first_renamed or record.line or 0
            self._renamed.update(record.renamed.items())
        if record.unused:
            self._first_unused = self._first_unused or record.line or 0
            self._unused.update(record.unused.items())

    def problems(self) -> Iterator[tuple[int, str]]:
        """Yield the first line with such fields, and what to report of them; nothing where there are none."""
        if self._renamed:
            new = ", ".join(repr(name) for _, name in sorted(self._renamed))
            yield (
                self._first_renamed,
                f"records have fields of their own named {_listed(self._renamed)}, which are {new} in the metadata; "
                "rename them",
            )
        by_used: dict[str, Counter[tuple[str, str]]] = {}
        for (name, used), count in self._unused.items():
            by_used.setdefault(used, Counter())[name, used] = count
        for used, names in sorted(by_used.items()):
            outcome = f"beside {used!r}, which is used; they are" if used else "which mean the same; each is"
            reason = f"records have fields named {_listed(names)} {outcome} only metadata; rename them"
            yield self._first_unused, reason


def _listed(names: Mapping[tuple[str, str], int]) -> str:
    return ", ".join(f"{name!r} ({count:,})" for (name, _), count in sorted(names.items()))
