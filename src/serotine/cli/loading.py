"""Files into an index, and what the commands tell of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.output import Interrupted, plural, warn, watched
from serotine.errors import EmptyTextWarning, InputFileError, MaintenanceWarning
from serotine.ingest.chunking import Chunker, Chunking
from serotine.ingest.planning import Planner, Skipped
from serotine.ingest.updating import IngestReport, carry_out, usual_chunking
from serotine.progress import progress_bar

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder

_REPORT_EVERY = 1000


class Loading:
    """Files on their way into an index that may be yet to be made.

    Args:
        sources: files and folders.
        encoder: the index's.
        index: None where it is yet to be made.
        filterable: the fields it declares.
        chunking: how texts are cut, if it was said.
        upsert: whether documents from elsewhere are replaced.
        told: skipped files that the user knows of; those of this run are added.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        encoder: TextEncoder,
        index: Index | None,
        *,
        filterable: Mapping[str, str],
        chunking: Chunking | None = None,
        upsert: bool = False,
        told: set[Skipped] | None = None,
    ) -> None:
        self._told = set() if told is None else told
        self._chunker = Chunker(encoder, chunking or usual_chunking(index, encoder))
        self._planner = Planner(index, self._chunker, filterable, upsert=upsert)
        with progress_bar(None, "Checking", enabled=watched()) as advance:
            self._plan = self._planner.plan(sources, advance=advance)
        self._tell()

    def _tell(self) -> None:
        plan = self._plan
        if not (plan.tasks or plan.unchanged or plan.gone):
            if len(plan.skipped) == 1:
                raise InputFileError(plan.skipped[0].message)
            self._warn(plan.skipped)
            raise InputFileError(f"none of the {len(plan.skipped):,} files could be indexed; see the warnings")
        self._warn(plan.skipped)
        count, first = plan.wordless
        if count:
            warn(f"{plural(count, 'document')} without words (the first: {first}); kept, though no question finds them")

    def _warn(self, skipped: Sequence[Skipped]) -> None:
        for each in skipped:
            if each not in self._told:
                warn(f"skipped: {each.message}")
        self._told |= set(skipped)

    def run(self, index: Index) -> IngestReport:
        """Brings the index up to date, drawing progress on a terminal.

        Raises:
            Interrupted: Ctrl-C; the message says what is safe.
        """
        stored = 0
        with progress_bar(self._plan.store, "Indexing", enabled=watched()) as advance, _one_line_warnings():
            # One bar only: each has a console of its own, so that rich would let two draw over each other, and one of
            # every chunk would stay behind. So the index draws none; the clock of this one goes on while it trains.

            def progress(done: int, _: int) -> None:
                nonlocal stored
                advance(done - stored)
                stored = done

            try:
                return carry_out(
                    index,
                    self._planner.onto(index),
                    self._plan,
                    self._chunker,
                    on_progress=progress,
                    on_skip=lambda skipped: self._warn([skipped]),
                )
            except KeyboardInterrupt:
                raise Interrupted(
                    f"interrupted; {plural(stored, 'document')} of {self._plan.store:,} are safe in {index.path.name}: "
                    "run the same command again to go on"
                ) from None


def chosen_chunking(tokens: int | None, overlap: int | None, whole: bool, encoder: TextEncoder) -> Chunking | None:
    """How texts are cut, if it was said.

    Raises:
        click.UsageError: in the words of the options.
    """
    if whole:
        return Chunking(None)
    if tokens is None and overlap is None:
        return None
    try:
        return Chunking.of(tokens, overlap, encoder)
    except ValueError as error:
        raise click.UsageError(
            f"--{str(error).replace('chunk tokens', 'chunk-tokens')}", click.get_current_context()
        ) from None


def told_files(report: IngestReport) -> str:
    """``files: 3 new, 1 changed, 6 unchanged``; empty for a single new file."""
    counts = (
        (report.files_added, "new"),
        (report.files_replaced, "changed"),
        (report.files_unchanged, "unchanged"),
        (report.files_removed, "gone"),
        (len(report.skipped), "skipped"),
    )
    return "files: " + ", ".join(f"{count:,} {what}" for count, what in counts if count)


def as_json(report: IngestReport) -> dict[str, Any]:
    """A report for programs."""
    return {
        "added": report.added,
        "replaced": report.replaced,
        "kept": report.kept,
        "removed": report.removed,
        "files": {
            "added": report.files_added,
            "replaced": report.files_replaced,
            "unchanged": report.files_unchanged,
            "removed": report.files_removed,
        },
        "skipped": [{"file": each.file, "reason": each.reason} for each in report.skipped],
    }


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings of the index as lines of ours; that texts without words were added the plan has told already."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, MaintenanceWarning):
                warn(str(message))
            else:
                show(message, category, *rest, **named)

        warnings.showwarning = shown
        warnings.simplefilter("ignore", EmptyTextWarning)
        warnings.simplefilter("once", MaintenanceWarning)
        yield
