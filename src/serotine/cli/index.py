"""``serotine index``: create an index of files, or update it; or import the vectors of a PLAID index."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from serotine import __version__
from serotine.cli.encoder_choice import choose_encoder
from serotine.cli.encoder_options import ENCODER_NAMES, encoder_options, load_encoder
from serotine.cli.file_options import SOURCE, FileOptions, FilesCommand, file_options
from serotine.cli.index_options import IndexOptions, index_options
from serotine.cli.ingestion import (
    ChunkingOptions,
    apply_plan,
    chunking_options,
    coverage_counts,
    coverage_line,
    document_counts,
    dry_run,
    exit_if_skipped,
    file_counts,
    ignored_line,
    open_for_texts,
    plan_files,
)
from serotine.cli.output import Interrupted, json_option, plural, print_error, report, run_again, shell_line, size, warn
from serotine.cli.pooled_model import check_recorded, load_pooled, pooled_option, warn_about_lost_pooled
from serotine.errors import EncoderError, IndexExistsError, SerotineError

if TYPE_CHECKING:
    from serotine.encoders import Encoder
    from serotine.index import Index, IndexStats
    from serotine.ingest import Ingest, IngestReport, Skipped, SkippedRow
    from serotine.integrations import PlaidIndex


class _Source(Protocol):
    """A source of documents: files, or the vectors of another index."""

    def create(self, path: Path) -> dict[str, Any]:
        """Create an index and return its report."""

    def update(self, path: Path) -> dict[str, Any]:
        """Update an existing index and return its report."""


@click.command(cls=FilesCommand)
@click.argument("sources", nargs=-1, required=True, type=SOURCE, metavar="SOURCE...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The index, a folder.  [default: beside the one SOURCE: notes or notes.jsonl makes notes.serotine]",
)
@click.option(
    "--encoder",
    metavar="NAME",
    help=f"{ENCODER_NAMES[0].upper()}{ENCODER_NAMES[1:]}.  [default: by the languages of a sample of the "
    "texts; an existing index keeps its encoder]",
)
@encoder_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace the index at PATH by a new one, once that is complete; the same command continues after Ctrl-C.",
)
@click.option("--watch", is_flag=True, help="Update the index whenever its files change, until Ctrl-C.")
@click.option(
    "--dry-run",
    "is_dry_run",
    is_flag=True,
    help="Only report files, passages, tokens and estimated time; store nothing.",
)
@chunking_options
@file_options
@index_options
@pooled_option
@json_option
def index(
    sources: tuple[Path, ...],
    output: Path | None,
    encoder: str | None,
    encoder_settings: dict[str, Any],
    overwrite: bool,
    watch: bool,
    is_dry_run: bool,
    chunking: ChunkingOptions,
    file_options: FileOptions,
    options: IndexOptions,
    pooled: str | None,
    json_file: str | None,
) -> None:
    """Create an index of files and folders, or update the one at PATH from them.

    Of a folder, reads corpus.jsonl where it exists (the BEIR format), otherwise all files of known types in it and
    below. JSON objects, CSV rows and Parquet rows are documents, with the fields _id (or id), title and text; every
    other field is metadata, CSV's as text unless --filterable declares a type. Without an id, file and line are the
    id. Other files are cut into passages that the encoder reads whole.

    Without --encoder, a new index gets serotine-mini, or serotine-multi where many texts are not English.

    Run again, it adds new files, replaces changed ones, removes those that are gone from the given folders, and leaves
    the rest alone; of a folder without any files, only with --allow-empty. A file that cannot be read is reported and
    skipped, and so is a bad row of a file. Documents are committed as they are encoded: after Ctrl-C the same command
    continues.

    Or import the vectors of an index by fast-plaid, PyLate or Stanford's ColBERT: pass its folder, and as --encoder
    the model it was created with. Without --encoder the new index is searched with vectors only, from Python.
    """
    from serotine.index import restore_replaced_index
    from serotine.ingest import check_is_no_index

    context = click.get_current_context()
    if watch and json_file is not None:
        raise click.UsageError("--watch and --json exclude each other; choose one", context)
    for folder in sources:
        check_is_no_index(folder)
    is_beside = output is None
    if output is None:
        output = _beside(sources)
        _check_same_source(output, sources[0])

    def announce() -> None:
        # Once the sources were read without an error.
        if is_beside:
            click.echo(f"The index is {output}; -o chooses another place.", err=True)

    def load() -> Encoder:
        default = load_encoder(encoder, **encoder_settings)
        if encoder is not None:
            return default
        name = choose_encoder(sources, default, **file_options.arguments())
        return default if name == default.name else load_encoder(name, **encoder_settings)

    def load_explicit() -> Encoder:
        # Settings without a name are those of the encoder that an existing index has.
        return load_encoder(encoder or _recorded_encoder(output), **encoder_settings)

    started = time.monotonic()
    explicit = load_explicit if encoder is not None or encoder_settings else None
    plaid = _find_plaid(sources)
    if plaid is not None and pooled is not None:
        raise click.UsageError(f"--pooled: needs texts, got {plaid.folder}, an index of vectors", context)
    files = _Files(sources, explicit, load, announce, options, chunking, file_options, encoder_settings, pooled)
    source: _Source = files if plaid is None else _Vectors(plaid, explicit, options)
    if watch:
        from serotine.cli.watch import require_watchfiles

        if plaid is not None:
            raise click.UsageError(f"--watch: needs files, got {plaid.folder}, an index", context)
        require_watchfiles()
    if is_dry_run:
        if watch or plaid is not None:
            raise click.UsageError("--dry-run: needs files, and excludes --watch", context)
        files.dry_run(output, json_file, is_new=overwrite or not output.exists())
        return
    restore_replaced_index(output)
    vacant = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if (vacant or overwrite) and Path.cwd().is_relative_to(output.resolve()):
        # A new index is renamed into place: the shell would be left in a deleted folder.
        raise click.BadParameter(
            f"{str(output)!r} contains the current folder; choose another, such as name.serotine",
            context,
            param_hint="'--output'",
        )
    if vacant:
        result = source.create(output)
    elif overwrite:
        if pooled is None:
            warn_about_lost_pooled(output)
        settings = (__version__, encoder, encoder_settings, chunking, file_options, options, pooled)
        result = _replace(output, source, repr((list(map(os.path.realpath, sources)), *settings)))
    else:
        result = source.update(output)
    _report(output, result, time.monotonic() - started, json_file)
    if watch:
        files.watch(output)
    exit_if_skipped(result["skipped"], strict=file_options.strict)


def _replace(output: Path, source: _Source, recipe: str) -> dict[str, Any]:
    """Replace an index by a new one, or continue with a new one that was interrupted, and return its report."""
    from serotine.index import replace_index

    progress = ""
    try:
        with replace_index(output, recipe=recipe) as building:
            try:
                return source.update(building) if building.exists() else source.create(building)
            except Interrupted as interrupted:
                progress = str(interrupted)
                raise KeyboardInterrupt from None
    except KeyboardInterrupt:
        outcome = progress.removeprefix("interrupted; ") or run_again()
        raise Interrupted(f"interrupted; {output} is unchanged; {outcome}") from None


def _recorded_encoder(path: Path) -> str | None:
    """Return the name of an existing index's encoder."""
    from serotine.index import Index

    if not path.is_dir() or not any(path.iterdir()):
        return None
    with Index.open(path, read_only=True) as opened:
        return opened.stats().encoder


def _beside(sources: Sequence[Path]) -> Path:
    """Return where the index of one source goes: beside it, with its name.

    Raises:
        click.UsageError: there are several sources, or the source is a filesystem's root.
    """
    context = click.get_current_context()
    if len(sources) > 1:
        raise click.UsageError(f"--output: needed for {len(sources)} sources; add -o NAME.serotine", context)
    source = sources[0] if sources[0].name not in ("", "..") else sources[0].resolve()
    if not source.name:
        raise click.UsageError(f"--output: needed for {source}; add -o NAME.serotine", context)
    name = source.name
    if not source.is_dir():
        name = Path(name.removesuffix(".gz")).stem
    return source.with_name(f"{name}.serotine")


def _check_same_source(output: Path, source: Path) -> None:
    """Raise click.UsageError where the index of a source's name is one of other files: notes/ beside notes.jsonl."""
    from serotine.index import Index

    if not (output / "catalog.sqlite").is_file():
        return
    with Index.open(output, read_only=True) as opened:
        recorded = list(opened.sources.all())
    own = source.resolve()
    if recorded and not any(path == str(own) or own in Path(path).parents for path in recorded):
        raise click.UsageError(
            f"--output: {output} is the index of other files, such as {recorded[0]}; add -o with another name",
            click.get_current_context(),
        )


@dataclass(slots=True)
class _Files:
    """Files as the source of an index.

    Attributes:
        sources: files and folders.
        explicit: loads the encoder given on the command line; None where none was given.
        load: loads that encoder, or the one that fits the texts.
        announce: says where the index is; called once the files were read.
        options: options of a new index.
        chunking: how texts are cut.
        file_options: which files are read, and how.
        encoder_settings: options of the encoder.
        pooled: the dense model of pooled vectors, as given; None where it was not.
        reported: skipped files and rows that were reported.
    """

    sources: Sequence[Path]
    explicit: Callable[[], Encoder] | None
    load: Callable[[], Encoder]
    announce: Callable[[], None]
    options: IndexOptions
    chunking: ChunkingOptions
    file_options: FileOptions
    encoder_settings: dict[str, Any]
    pooled: str | None
    reported: set[Skipped | SkippedRow] = field(default_factory=set)

    def create(self, path: Path) -> dict[str, Any]:
        from serotine.index import Index
        from serotine.ingest import Ingest

        encoder = self.load()
        pooled = load_pooled(self.pooled, encoder, self.encoder_settings)
        chunking = self.chunking.chunking(encoder)
        ingest = Ingest(
            self.sources, encoder, chunking=chunking, filterable=self.options.fields(), **self.file_options.arguments()
        )
        # Reports all errors of the files before anything exists at `path`.
        plan = plan_files(ingest, None, self.reported)
        self.announce()
        try:
            new = Index.create(path, encoder=encoder, pooled=pooled, **self.options.arguments())
        except IndexExistsError:
            raise SerotineError(f"{path}: another process created this index meanwhile; {run_again()}") from None
        with new as created:
            return _ingest_result(created, apply_plan(ingest, plan, created, self.reported))

    def update(self, path: Path) -> dict[str, Any]:
        pooled = check_recorded(self.pooled, path, self.encoder_settings)
        with open_for_texts(path, self.explicit() if self.explicit is not None else None, pooled) as opened:
            self.options.check_against(opened.stats())
            return _ingest_result(opened, self._ingest(opened, self.announce))

    def dry_run(self, path: Path, json_file: str | None, *, is_new: bool) -> None:
        """Report what `create` or `update` would do, and what it would cost."""
        from serotine.index import Index
        from serotine.ingest import Ingest

        if is_new or not any(path.iterdir()):
            encoder = self.load()
            model = load_pooled(self.pooled, encoder, self.encoder_settings)
            other = None if model is None or model is encoder else model.name
            arguments = {"filterable": self.options.fields(), **self.file_options.arguments()}
            ingest = Ingest(self.sources, encoder, chunking=self.chunking.chunking(encoder), **arguments)
            dry_run(ingest, plan_files(ingest, None), None, path, json_file, pooled=other)
            return
        check_recorded(self.pooled, path, self.encoder_settings)
        with Index.open(path, read_only=True, encoder=self.explicit() if self.explicit is not None else None) as opened:
            ingest = self._of(opened)
            stats = opened.stats()
            other = None if stats.pooled is None or stats.pooled.encoder == stats.encoder else stats.pooled.encoder
            dry_run(ingest, plan_files(ingest, opened), opened, path, json_file, pooled=other)

    def watch(self, path: Path) -> None:
        """Update the index whenever its files change, until Ctrl-C, as its one writer."""
        from serotine.cli.watch import watch

        with open_for_texts(path, self.explicit() if self.explicit is not None else None) as opened:

            def update(sources: Sequence[Path]) -> None:
                started = time.monotonic()
                result = replace(self, sources=sources)._ingest(opened)
                if result.added or result.removed or result.files_added or result.files_replaced:
                    _report(path, _ingest_result(opened, result), time.monotonic() - started, None, advice=False)

            with suppress(KeyboardInterrupt):
                click.echo(f"{path}: watching {plural(len(self.sources), 'source')}; stop with Ctrl-C")
                watch(self.sources, path, update, lambda error: print_error(str(error)), warn)
        click.echo(f"{path}: stopped watching")

    def _ingest(self, opened: Index, announce: Callable[[], None] = lambda: None) -> IngestReport:
        ingest = self._of(opened)
        plan = plan_files(ingest, opened, self.reported)
        announce()
        return apply_plan(ingest, plan, opened, self.reported)

    def _of(self, opened: Index) -> Ingest:
        from serotine.ingest import Ingest

        encoder = opened.encoder
        chunking = self.chunking.chunking(encoder, opened, self.sources)
        return Ingest(self.sources, encoder, chunking=chunking, **self.file_options.arguments())


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The vectors of a PLAID index as the source of an index.

    Attributes:
        plaid: the index to import.
        load: loads the encoder given on the command line; None where none was given.
        options: options of a new index.
    """

    plaid: PlaidIndex
    load: Callable[[], Encoder] | None
    options: IndexOptions

    def create(self, path: Path) -> dict[str, Any]:
        from serotine.index import Index

        if self.load is None:
            return self._import(Index.create(path, dim=self.plaid.dim, **self.options.arguments()), path)
        encoder = self.load()
        if encoder.dim != self.plaid.dim:
            raise EncoderError(
                f"{self.plaid.folder}: its vectors must have {encoder.dim} dimensions like the encoder's, got "
                f"{self.plaid.dim}; pass the encoder that the index was created with"
            )
        return self._import(Index.create(path, encoder=encoder, **self.options.arguments()), path)

    def update(self, path: Path) -> dict[str, Any]:
        from serotine.index import Index

        opened = Index.open(path, encoder=None if self.load is None else self.load())
        try:
            self.options.check_against(opened.stats())
            if opened.dim != self.plaid.dim:
                raise EncoderError(
                    f"{self.plaid.folder}: its vectors must have {opened.dim} dimensions like those of {path}, got "
                    f"{self.plaid.dim}"
                )
        except BaseException:
            opened.close()
            raise
        return self._import(opened, path)

    def _import(self, opened: Index, path: Path) -> dict[str, Any]:
        """Add the documents that the index does not have yet, and close it."""
        total = len(self.plaid.ids)
        with opened:
            try:
                added = opened.add_batches(
                    self.plaid.batches(), expected_documents=max(total, len(opened)), show_progress=True
                )
            except KeyboardInterrupt:
                raise Interrupted(
                    f"interrupted; {plural(len(opened), 'document')} of {total:,} stored in {path}; {run_again()}"
                ) from None
            return {"added": added, "unchanged": total - added, "skipped": [], **_totals(opened.stats())}


def _find_plaid(sources: Sequence[Path]) -> PlaidIndex | None:
    """Return the PLAID index that is the one source; None where the sources are files and folders of text.

    Raises:
        click.UsageError: there are other sources beside it.
        InputFileError: it cannot be read.
    """
    from serotine import integrations

    folder = next((source for source in sources if source.is_dir() and integrations.find_plaid(source)), None)
    if folder is None:
        return None
    if len(sources) > 1:
        raise click.UsageError(
            f"{folder} is an index of vectors, and must be the only source; index the others separately",
            click.get_current_context(),
        )
    return integrations.read_plaid(folder)


def _ingest_result(index: Index, result: IngestReport) -> dict[str, Any]:
    stats = index.stats()
    return {
        **result.to_json(),
        **_totals(stats),
        "counts": file_counts(result),
        "ignored_line": ignored_line(result.ignored),
        "coverage_line": coverage_line(result, stats),
    }


def _totals(stats: IndexStats) -> dict[str, Any]:
    return {
        "documents": stats.documents,
        "tokens": stats.tokens,
        "bytes": stats.bytes,
        "encoder": stats.encoder,
        "in_index": coverage_counts(stats),
    }


def _report(
    output: Path, result: dict[str, Any], seconds: float, json_file: str | None, *, advice: bool = True
) -> None:
    documents = document_counts(
        replaced=result.get("replaced", 0), unchanged=result["unchanged"], reused=result.get("reused", 0)
    )
    counts = f"; {counts}" if (counts := result.pop("counts", "")) else ""
    totals = f"{plural(result['documents'], 'document')}, {plural(result['tokens'], 'token')}, {size(result['bytes'])}"
    lines = (
        f"{output}: {plural(result['added'], 'document')} indexed in {seconds:,.1f} s{documents}{counts}; "
        f"total: {totals}.{result.pop('ignored_line', '')}"
    )
    coverage = result.pop("coverage_line", "")
    if advice:
        lines += coverage
    if advice and result["encoder"]:
        lines += f"\nSearch it: {shell_line('serotine', 'search', output, 'your query')}"
    elif advice:
        lines += "\nIt has no encoder: search it with vectors, from Python; or index again with --encoder."
    report(lines, {"path": str(output), **result, "seconds": seconds}, json_file)
