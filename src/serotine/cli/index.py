"""``serotine index``: an index of files, made or brought up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.encoder_options import encoder_options, load_encoder
from serotine.cli.index_options import Engine, engine_options
from serotine.cli.loading_options import chunking_options
from serotine.cli.output import Interrupted, complain, json_option, plural, report, size

if TYPE_CHECKING:
    from serotine.encoders import Encoder
    from serotine.index import Index
    from serotine.ingest import Chunking, IngestReport, Skipped
    from serotine.integrations import PlaidIndex


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="PATH", help="The index, a folder."
)
@click.option("--encoder", metavar="NAME", help="Hub id or folder of an encoder; the offline default unless given.")
@encoder_options
@click.option("--overwrite", is_flag=True, help="Make the index at PATH anew, in its place once it is complete.")
@click.option("--watch", is_flag=True, help="Go on following the files until Ctrl-C.")
@chunking_options
@engine_options
@json_option
def index(
    sources: tuple[Path, ...],
    output: Path,
    encoder: str | None,
    encoder_settings: dict[str, Any],
    overwrite: bool,
    watch: bool,
    chunk_tokens: int | None,
    overlap: int | None,
    no_chunk: bool,
    nbits: str | None,
    keep_vectors: bool | None,
    filterable: dict[str, type] | None,
    json_file: str | None,
) -> None:
    """Make an index of files and folders, or bring the one at PATH up to date with them.

    Reads .txt, .md, .html, .pdf, .jsonl, .csv and .parquet, plain or .gz. Of a folder, corpus.jsonl where there is one
    (the BEIR format), otherwise all such files in it and below. JSON objects, CSV rows and Parquet rows are documents,
    with the fields _id (or id), title and text; every other field is kept as metadata, CSV's as text unless
    --filterable says what it is. Without an id, file and line stand for it. Other files are cut into passages that the
    encoder reads to their end.

    Run again, it adds new files, replaces changed ones, removes those that have vanished from the folders named, and
    leaves the rest alone. A file that cannot be read is reported and skipped. Documents are committed as they are
    encoded: after Ctrl-C the same command goes on.

    Or take over the vectors of an index that fast-plaid, PyLate or Stanford's ColBERT made: name its folder, and as
    --encoder the model it was made with, without which the new index answers vectors only, from Python.
    """
    from serotine.cli.importing import foreign
    from serotine.cli.replacement import recover, replacing

    context = click.get_current_context()
    if watch and json_file is not None:
        raise click.UsageError("--watch and --json exclude each other; choose one", context)
    if no_chunk and (chunk_tokens is not None or overlap is not None):
        raise click.UsageError("--no-chunk excludes --chunk-tokens and --overlap; choose one", context)

    def load() -> Encoder:
        return load_encoder(encoder, **encoder_settings)

    started = time.monotonic()
    named = load if encoder is not None or encoder_settings else None
    engine = Engine(None if nbits is None else int(nbits), keep_vectors, filterable)
    vectors = foreign(sources)
    work: _Files | _Vectors
    if vectors is None:
        work = _Files(sources, named, load, engine, partial(_chunking, chunk_tokens, overlap, no_chunk))
    else:
        work = _Vectors(vectors, named, engine)
    if watch:
        from serotine.cli.watching import require_watchfiles

        if vectors is not None:
            raise click.UsageError(f"--watch follows files of text; {vectors.folder} is an index", context)
        require_watchfiles()
    recover(output)
    vacant = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if (vacant or overwrite) and Path.cwd().is_relative_to(output.resolve()):
        # An index is renamed into place when it is made: the shell would be left in a folder that is gone.
        raise click.BadParameter(
            f"{str(output)!r} is the folder you are in, or above it; name one of its own, such as name.serotine",
            context,
            param_hint="'--output'",
        )
    if vacant:
        result = work.build(output)
    elif overwrite:
        try:
            with replacing(output) as building:
                result = work.build(building)
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted(f"interrupted; {output} is as it was") from None
    else:
        result = work.update(output)
    _report(output, result, time.monotonic() - started, json_file)
    if watch and isinstance(work, _Files):
        work.watch(output)


def _chunking(tokens: int | None, overlap: int | None, whole: bool, encoder: Any) -> Chunking | None:
    from serotine.cli.loading import chosen_chunking

    return chosen_chunking(tokens, overlap, whole, encoder)


class _Files:
    """Files into an index."""

    def __init__(
        self,
        sources: tuple[Path, ...],
        named: Callable[[], Encoder] | None,
        load: Callable[[], Encoder],
        engine: Engine,
        chunking: Callable[[Any], Chunking | None],
    ) -> None:
        self._sources = sources
        self._named = named
        self._load = load
        self._engine = engine
        self._chunking = chunking
        self._told: set[Skipped] = set()

    def build(self, path: Path) -> dict[str, Any]:
        from serotine.cli.loading import Loading
        from serotine.index import Index

        encoder = self._load()
        # Everything that can be wrong is found before anything appears at `path`.
        loading = Loading(
            self._sources,
            encoder,
            None,
            filterable=self._engine.fields(),
            chunking=self._chunking(encoder),
            told=self._told,
        )
        with Index.create(path, encoder=encoder, **self._engine.arguments()) as made:
            return _result(made, loading.run(made))

    def update(self, path: Path) -> dict[str, Any]:
        from serotine.cli.writing import open_for_texts

        with open_for_texts(path, self._named() if self._named is not None else None) as opened:
            self._engine.check_against(opened.stats())
            return _result(opened, self._follow(opened))

    def _follow(self, opened: Index) -> IngestReport:
        from serotine.cli.loading import Loading

        encoder = opened.encoder
        loading = Loading(
            self._sources,
            encoder,
            opened,
            filterable=opened.stats().filterable,
            chunking=self._chunking(encoder),
            told=self._told,
        )
        return loading.run(opened)

    def watch(self, path: Path) -> None:
        """Follows the files until Ctrl-C, as the one writer of the index."""
        from serotine.cli.watching import watch
        from serotine.cli.writing import open_for_texts

        with open_for_texts(path, self._named() if self._named is not None else None) as opened:

            def follow() -> None:
                started = time.monotonic()
                done = self._follow(opened)
                if done.added or done.removed or done.files_added or done.files_replaced:
                    _report(path, _result(opened, done), time.monotonic() - started, None, advice=False)

            click.echo(f"{path}: following {plural(len(self._sources), 'source')}; stop with Ctrl-C")
            watch(self._sources, path, follow, lambda error: complain(str(error)))
        click.echo(f"{path}: no longer followed")


class _Vectors:
    """Another engine's index into one of ours."""

    def __init__(self, source: PlaidIndex, named: Callable[[], Encoder] | None, engine: Engine) -> None:
        self._source = source
        self._named = named
        self._engine = engine

    def build(self, path: Path) -> dict[str, Any]:
        from serotine.cli import importing

        return self._result(*importing.build(self._source, path, self._named, self._engine))

    def update(self, path: Path) -> dict[str, Any]:
        from serotine.cli import importing

        return self._result(*importing.update(self._source, path, self._named, self._engine))

    def _result(self, opened: Index, added: int) -> dict[str, Any]:
        with opened:
            return {"added": added, "kept": len(self._source.ids) - added, "skipped": [], **_held(opened)}


def _result(index: Index, done: IngestReport) -> dict[str, Any]:
    from serotine.cli.loading import as_json, told_files

    return {**as_json(done), **_held(index), "told": told_files(done)}


def _held(index: Index) -> dict[str, Any]:
    stats = index.stats()
    return {
        "documents": stats.documents,
        "tokens": stats.tokens,
        "bytes": stats.bytes,
        "encoder": stats.encoder,
    }


def _report(
    output: Path, result: dict[str, Any], seconds: float, json_file: str | None, *, advice: bool = True
) -> None:
    kept = f" ({result['kept']:,} were there already)" if result["kept"] else ""
    told = f"; {told}" if (told := result.pop("told", "")) else ""
    held = f"{plural(result['documents'], 'document')}, {plural(result['tokens'], 'token')}, {size(result['bytes'])}"
    lines = f"{output}: {plural(result['added'], 'document')} indexed in {seconds:,.1f} s{kept}{told}; it holds {held}."
    if advice and result["encoder"]:
        lines += f'\nAsk it: serotine search {output} "your question"'
    elif advice:
        lines += "\nIt has no encoder: ask it from Python, with vectors; or index again with the --encoder they are of."
    report(lines, {"path": str(output), **result, "seconds": seconds}, json_file)
