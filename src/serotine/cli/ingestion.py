"""Options, progress and report of the commands that index files: `index` and `add`."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from serotine.cli.output import Interrupted, plural, report, run_again, shell_line, warn
from serotine.coverage import UNKNOWN_SHARE, main_scripts
from serotine.errors import (
    EmptyTextWarning,
    EncoderError,
    InputFileError,
    MaintenanceWarning,
    TruncatedTextWarning,
    UnknownTextWarning,
    missing_extra,
)
from serotine.model_packages import multilingual_advice
from serotine.progress import progress_bar

if TYPE_CHECKING:
    from serotine.encoders import Encoder
    from serotine.index import Index, IndexStats, TextEncoder
    from serotine.ingest import Chunking, Ignored, Ingest, IngestReport, Plan, Skipped, SkippedRow, SkippedRows

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ChunkingOptions:
    """How texts are cut, as given on the command line; None where an option was not given."""

    tokens: int | None
    overlap: int | None
    whole: bool
    late: bool | None = None

    def chunking(
        self, encoder: TextEncoder, index: Index | None = None, sources: Sequence[Path] = ()
    ) -> Chunking | None:
        """Return the chunking for sources of an index that exists, or of a new one; None where no option was given.

        Raises:
            click.UsageError: a value does not fit the encoder, or the other options.
        """
        from serotine.ingest import Chunking, previous_chunking

        if self.whole:
            return Chunking(None)
        if self.tokens is None and self.overlap is None and self.late is None:
            return None
        before = previous_chunking(index, encoder, sources)
        late = before.late if self.late is None else self.late
        # One option of its own changes nothing else.
        tokens = before.tokens if self.tokens is None else self.tokens
        try:
            return Chunking.of(tokens, self.overlap, encoder, late=late)
        except ValueError as error:
            raise click.UsageError(str(error), click.get_current_context()) from None


def chunking_options(command: Command) -> Command:
    """Add ``--chunk-tokens``, ``--overlap``, ``--no-chunk`` and ``--late-chunking``, as the argument `chunking`."""

    @wraps(command)
    def wrapper(
        *arguments: Any,
        chunk_tokens: int | None,
        overlap: int | None,
        no_chunk: bool,
        late_chunking: bool | None,
        **named: Any,
    ) -> Any:
        if no_chunk and (chunk_tokens is not None or overlap is not None or late_chunking):
            raise click.UsageError(
                "--no-chunk excludes --chunk-tokens, --overlap and --late-chunking; choose one",
                click.get_current_context(),
            )
        return command(*arguments, chunking=ChunkingOptions(chunk_tokens, overlap, no_chunk, late_chunking), **named)

    for option in (
        click.option(
            "--late-chunking/--no-late-chunking",
            default=None,
            help="Encode every passage together with the text around it.  [default: as before in this index; no]",
        ),
        click.option("--no-chunk", is_flag=True, help="Do not cut texts; encoders truncate texts that are too long."),
        click.option(
            "--overlap",
            type=click.IntRange(min=0),
            metavar="TOKENS",
            help="Approximate number of tokens that a passage shares with the one before it.  [default: an eighth]",
        ),
        click.option(
            "--chunk-tokens",
            type=click.IntRange(min=16),
            metavar="TOKENS",
            help="Maximum tokens of a passage.  [default: as before in this index; 256 if the encoder reads that many]",
        ),
    ):
        wrapper = option(wrapper)
    return wrapper  # type: ignore[return-value]


def open_for_texts(path: Path, encoder: TextEncoder | None = None, pooled: Encoder | None = None) -> Index:
    """Open an index for writing texts.

    Raises:
        EncoderError: the index was created for vectors, or with another encoder or dense model.
    """
    from serotine.index import Index

    index = Index.open(path, encoder=encoder, pooled=pooled)
    stats = index.stats()
    if stats.encoder is None:
        index.close()
        raise EncoderError(f"{path}: contains vectors and has no encoder for texts; add vectors to it from Python")
    if stats.pooled is not None and stats.pooled.encoder is None:
        index.close()
        raise EncoderError(f"{path}: has no model for its pooled vectors; add texts with their vectors from Python")
    return index


def plan_files(ingest: Ingest, index: Index | None, reported: set[Skipped | SkippedRow] | None = None) -> Plan:
    """Read the files, showing progress, and warn about skipped files and rows.

    Args:
        ingest: the files.
        index: the index to update; None where it does not exist yet.
        reported: skipped files and rows that were already reported and are not reported again; those of this plan are
            added.

    Raises:
        InputFileError: none of the files can be indexed.
        Interrupted: Ctrl-C; nothing has changed, and the message says what is stored.
    """
    reported = set() if reported is None else reported
    try:
        with progress_bar(None, "Reading", enabled=True, unit="bytes") as bar:
            plan = ingest.plan(index, on_read=bar.reach)
    except KeyboardInterrupt:
        stored = "nothing was stored"
        if index is not None and len(index):
            stored = f"nothing more was stored in {index.path.name}, which has {plural(len(index), 'document')}"
        raise Interrupted(f"interrupted while reading, before anything was encoded: {stored}; {run_again()}") from None
    if plan.skipped and not (plan.changes or plan.unchanged or plan.gone):
        if len(plan.skipped) == 1:
            raise InputFileError(plan.skipped[0].message)
        warn_skipped(plan.skipped, reported)
        raise InputFileError(f"none of the {len(plan.skipped):,} files can be indexed; see the warnings")
    # Ids that are taken come first: the files are valid, and one option reads them.
    rows = [row for row in plan.skipped_rows.first if row not in reported]
    warn_rows(row for row in rows if row.collisions)
    warn_skipped(plan.skipped, reported)
    warn_rows(row for row in rows if not row.collisions)
    if rows:
        warn_row_count(plan.skipped_rows, "; --strict rejects such files")
    reported.update(rows)
    unchanged = set(plan.unchanged)
    for row in plan.problems.first:
        # What a file's ids became is news, and nothing to correct.
        if row not in reported and not (row.collisions and row.file in unchanged):
            warn(row.message)
            reported.add(row)
    warn_unlisted(plan.problems)
    for file in plan.ignored.first:
        warn(f"{file}: ignored: {_ignored_reason(Path(file))}")
    for option, patterns in plan.ignored.unmatched.items():
        for pattern in patterns:
            warn(f"--{option} {shell_line(pattern)}: matches no file or folder; correct the pattern")
    if plan.deleted:
        first = next(iter(plan.deleted))
        count, files = sum(plan.deleted.values()), plural(len(plan.deleted), "file")
        warn(
            f"deleted from the index, and not stored again: {plural(count, 'document')} of {files} "
            f"(the first: {first}); --restore-deleted stores them"
        )
    if plan.copied.files:
        folder = os.path.commonpath([os.path.dirname(name) for name in plan.copied.files])  # noqa: PTH120
        warn(
            f"{len(plan.copied.files):,} of the new files have the same content as files of {folder}, which no longer "
            f"exist: {plan.copied.documents:,} documents may be there twice; delete the old ones: {plan.copied.command}"
        )
    if plan.restored and not ingest.restores_deleted:
        first = next(iter(plan.restored))
        count, files = sum(plan.restored.values()), plural(len(plan.restored), "file")
        warn(
            f"deleted from the index before, and stored again with other texts: up to {plural(count, 'document')} of "
            f"{files} (the first: {first}); delete them again, or remove them from the file"
        )
    return plan


def apply_plan(
    ingest: Ingest, plan: Plan, index: Index, reported: set[Skipped | SkippedRow] | None = None
) -> IngestReport:
    """Update the index, showing progress.

    Args:
        ingest: the files.
        plan: the last plan of `ingest`.
        index: open for writing.
        reported: as in `plan_files`.

    Raises:
        Interrupted: Ctrl-C; the message says what is stored.
    """
    reported = set() if reported is None else reported
    stored = 0
    documents_before = len(index)

    def count(documents: int, _: int) -> None:
        nonlocal stored
        stored = documents

    try:
        with progress_bar(plan.bytes_to_store, "Encoding", enabled=True, unit="bytes") as bar, _one_line_warnings():
            result = ingest.apply(
                index,
                on_progress=count,
                on_bytes=bar.reach,
                on_skip=lambda skipped: warn_skipped([skipped], reported),
                show_progress=True,
            )
    except KeyboardInterrupt:
        # The last commit may have ended without being counted.
        stored = max(stored, len(index) - documents_before)
        total = f", which has {len(index):,} now" if documents_before else ""
        raise Interrupted(
            f"interrupted; {plural(stored, 'document')} of {plan.to_store:,} stored in {index.path.name}{total}; "
            f"{run_again()}"
        ) from None
    _warn_about_texts(result, index.stats().encoder or "")
    return result


def warn_unlisted(problems: SkippedRows) -> None:
    """Warn once about the lines that are not listed one by one, if there are any."""
    if unlisted := problems.count - len(problems.first):
        lines = f"{plural(problems.count, 'such line')} of {plural(problems.files, 'file')}"
        warn(f"{lines}, {unlisted:,} of them not listed")


def _ignored_reason(file: Path) -> str:
    """Return why a file or folder is ignored that is named for that."""
    if file.is_symlink() and not file.exists():
        return f"a link to {str(file.readlink())!r}, which does not exist"
    if file.is_file() and os.access(file, os.R_OK):
        return "larger than --max-file-size"
    return "cannot be read"


def _warn_about_texts(result: IngestReport, encoder: str) -> None:
    """Warn about texts that are longer than the encoder reads, or outside its vocabulary."""
    coverage = result.coverage
    if coverage.truncated:
        outcome = "the rest is not searched: omit --no-chunk to cut them into passages"
        warn(coverage.truncated_message("documents", encoder, outcome))
    if coverage.unknown:
        words = "search with --mode bm25"
        fix = multilingual_advice(f"{words}, or index with --encoder multilingual", encoder, words)
        warn(coverage.unknown_message("documents", encoder, fix))


def coverage_line(result: IngestReport, stats: IndexStats) -> str:
    """Return a line that counts the texts of the index that its encoder does not know or read whole; "" without any.

    Of what the run itself stored, warnings have said it.
    """
    faults = []
    if stats.unknown and not result.coverage.unknown:
        named = main_scripts(stats.unknown_scripts)
        share = f"more than {UNKNOWN_SHARE:.0%} outside the encoder's vocabulary"
        faults.append(f"{plural(stats.unknown, 'document')} {share} ({named})")
    if stats.truncated and not result.coverage.truncated:
        faults.append(f"{plural(stats.truncated, 'document')} longer than the encoder reads")
    return f"\nIn the index: {', '.join(faults)}; `serotine info` says more." if faults else ""


def coverage_counts(stats: IndexStats) -> dict[str, Any]:
    """Return the counts of `coverage_line` as JSON values, also of what the run itself stored."""
    return {"truncated": stats.truncated, "unknown": stats.unknown, "unknown_scripts": stats.unknown_scripts}


def document_counts(*, replaced: int, unchanged: int, reused: int) -> str:
    """Return ``, 2 of them replaced (5 unchanged)``, to follow the number of stored documents; "" without any."""
    of_them = f", {replaced:,} of them replaced" if replaced else ""
    of_them += f", {reused:,} reused" if reused else ""
    return f"{of_them} ({unchanged:,} unchanged)" if unchanged else of_them


def file_counts(result: IngestReport) -> str:
    """Return ``files: 3 new, 1 changed, 6 unchanged``, without the counts that are zero."""
    files = _by_state(
        result.files_added, result.files_replaced, result.files_unchanged, result.files_removed, len(result.skipped)
    )
    rows = row_count(result.skipped_rows)
    cut = f"; {plural(result.cut_records, 'long record')} cut into passages" if result.cut_records else ""
    removed = f"; {plural(result.removed, 'document')} removed" if result.removed else ""
    deleted = sum(result.restored.values())
    restored = f"; {plural(deleted, 'deleted document')} stored again" if deleted else ""
    metadata = f"; metadata of {plural(result.changed_metadata, 'document')} changed" if result.changed_metadata else ""
    return f"{files}{_moved(result.moved)}{removed}{restored}{metadata}{rows}{cut}{unread_counts(result.unread)}"


def row_count(skipped: SkippedRows) -> str:
    """Return ``; rows: 2 skipped``, to follow other counts; "" without any."""
    return f"; rows: {skipped.count:,} skipped" if skipped else ""


def unread_counts(unread: Mapping[str, int]) -> str:
    """Return ``; not read: 2 images``, to follow other counts; "" without any."""
    counts = ", ".join(_counted(count, kind) for kind, count in unread.items())
    return f"; not read: {counts}" if counts else ""


def _moved(moved: Mapping[str, str]) -> str:
    """Return which files are new and gone because they were moved, the first of them; "" where none is."""
    if not moved:
        return ""
    old, new = next(iter(moved.items()))
    others = f" and {len(moved) - 1:,} more" if len(moved) > 1 else ""
    return f" (moved: {os.path.relpath(old)} -> {os.path.relpath(new)}{others})"


def _by_state(*counts: int) -> str:
    """Return the numbers of new, changed, unchanged, gone and skipped files, without the zeros."""
    states = zip(counts, ("new", "changed", "unchanged", "gone", "skipped"), strict=True)
    return "files: " + ", ".join(f"{count:,} {state}" for count, state in states if count)


def _counted(count: int, kind: str) -> str:
    """Return "2 pages without text", or "1 page without text"."""
    return f"{count:,} {kind}" if count > 1 else re.sub(r"s\b", "", f"1 {kind}", count=1)


def ignored_line(ignored: Ignored) -> str:
    """Return a line that counts the files that are not read; "" where there are none."""
    return f"\n{ignored}" if ignored else ""


def dry_run(
    ingest: Ingest, plan: Plan, index: Index | None, path: Path, json_file: str | None, *, pooled: str | None
) -> None:
    """Report what an update would do and cost, except the time of another model for pooled vectors."""
    with progress_bar(plan.bytes_to_store, "Counting tokens", enabled=True, unit="bytes") as bar:
        cost = ingest.estimate(index, on_bytes=bar.reach)
    minutes = cost.seconds / 60
    files = _by_state(len(plan.new), len(plan.changed), len(plan.unchanged), len(plan.gone), len(plan.skipped))
    duration = f"{minutes:,.1f} minutes" if minutes >= 1 else f"{cost.seconds:,.1f} seconds"
    report(
        f"{path}: dry run, nothing is stored; {files}{_moved(plan.moved)}\n"
        f"would encode {plural(cost.documents, 'passage')} with {plural(cost.tokens, 'token')}: about {duration} "
        f"(measured on {plural(cost.sample, 'passage')}){f', and the pooled vectors of {pooled}' if pooled else ''}"
        f"{_cut_and_truncated(plan)}{ignored_line(plan.ignored)}",
        {
            "path": str(path),
            "dry_run": True,
            "files": {
                "added": len(plan.new),
                "replaced": len(plan.changed),
                "unchanged": len(plan.unchanged),
                "removed": len(plan.gone),
            },
            "passages": cost.documents,
            "tokens": cost.tokens,
            "seconds": cost.seconds,
            "pooled": pooled,
            "skipped": [skipped.to_json() for skipped in plan.skipped],
            "skipped_rows": plan.skipped_rows.to_json(),
            "problems": plan.problems.to_json(),
            "unread": dict(plan.unread),
            "cut_records": plan.cut_records,
            "truncated": plan.truncated,
            "ignored": plan.ignored.to_json(),
            "deleted": dict(plan.deleted),
            "moved": dict(plan.moved),
            "restored": dict(plan.restored),
            "copied": dict(plan.copied.files),
        },
        json_file,
    )


def _cut_and_truncated(plan: Plan) -> str:
    """Return lines that count the records to be cut, and the texts that the encoder will truncate."""
    cut = f"\nwould cut {plural(plan.cut_records, 'long record')} into passages" if plan.cut_records else ""
    texts = plural(plan.truncated, "document")
    outcome = (
        f"\ntoo long for the encoder: {texts}; the rest is not searched: omit --no-chunk to cut them into passages"
    )
    return cut + (outcome if plan.truncated else "")


def exit_if_skipped(skipped: Sequence[object], *, strict: bool) -> None:
    """Exit with status 1 where ``--strict`` was given and files were skipped; the report is written before."""
    if strict and skipped:
        click.get_current_context().exit(1)


def warn_rows(rows: Iterable[SkippedRow]) -> None:
    """Warn about skipped rows, each with its reason."""
    for row in rows:
        warn(f"skipped {'rows' if row.collisions > 1 else 'row'}: {row.message}")


def warn_row_count(rows: SkippedRows, fix: str = "") -> None:
    """Warn once about the number of skipped rows, if it is more than one."""
    listed = sum(max(row.collisions, 1) for row in rows.first)
    unlisted = rows.count - listed
    if unlisted or len(rows.first) > 1:
        others = f", {unlisted:,} of them not listed" if unlisted else ""
        warn(f"{plural(rows.count, 'bad row')} of {plural(rows.files, 'file')} skipped{others}{fix}")


def warn_skipped(files: Sequence[Skipped], reported: set[Skipped | SkippedRow]) -> None:
    """Warn about files that are not indexed, the first ten and a count; leave out, and add to, `reported`."""
    from serotine.ingest import MAX_NAMED, file_type

    new = [skipped for skipped in files if skipped not in reported]
    # Valid files whose ids are taken come first, and hide no broken one.
    conflicts = [skipped for skipped in new if skipped.conflict]
    broken = [skipped for skipped in new if not skipped.extra and not skipped.conflict]
    for listed, fault in ((conflicts, " with ids that are taken"), (_by_interest(broken), "")):
        for skipped in listed[:MAX_NAMED]:
            warn(f"skipped: {skipped.message}")
        if len(listed) > MAX_NAMED:
            types = Counter(file_type(skipped.file) or "no suffix" for skipped in listed[MAX_NAMED:])
            named = ", ".join(f"{suffix} {count:,}" for suffix, count in types.most_common())
            warn(f"skipped: {plural(len(listed) - MAX_NAMED, 'more file')}{fault} ({named}); --json FILE lists them")
    # One line for an extra, not one for each of its files.
    for extra in sorted({skipped.extra for skipped in new if skipped.extra}):
        types = Counter(file_type(skipped.file) for skipped in new if skipped.extra == extra)
        named = ", ".join(f"{count:,} {suffix}" for suffix, count in types.most_common())
        message = missing_extra(f"reading {plural(types.total(), 'file')} ({named})", extra)
        warn(f"skipped: {message}")
    reported.update(files)


_DATA = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx", ".mbox")


def _by_interest(files: Sequence[Skipped]) -> list[Skipped]:
    """Return skipped files in the order in which they are named: data first, generated and configuration files last."""
    from serotine.ingest import file_type, generated_kind

    seen: Counter[str] = Counter()
    ranked = []
    for skipped in files:
        type_ = file_type(skipped.file)
        rank = 0 if type_ in _DATA else 2 if type_ == ".json" else 1
        if generated_kind(Path(skipped.file).name) is not None:
            rank = 3
        # The third file of a type comes after the second ones of all others.
        ranked.append((rank == 3, seen[type_], rank))
        seen[type_] += 1
    return [files[i] for i in sorted(range(len(files)), key=lambda i: ranked[i])]


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Write the index's warnings as one line each, except of texts, which the plan and the report count."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def write(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, MaintenanceWarning):
                warn(str(message))
            else:
                show(message, category, *rest, **named)

        warnings.showwarning = write
        for reported in (EmptyTextWarning, TruncatedTextWarning, UnknownTextWarning):
            warnings.simplefilter("ignore", reported)
        warnings.simplefilter("once", MaintenanceWarning)
        yield
