"""``serotine index``: files into a new index."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.encoder_options import encoder_options, load_encoder
from serotine.cli.engine_options import Engine, engine_options
from serotine.cli.output import Interrupted, json_option, plural, report, size

if TYPE_CHECKING:
    from serotine.cli.loading import Loading
    from serotine.encoders import Encoder
    from serotine.index import Index
    from serotine.integrations.plaid import PlaidIndex


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="PATH", help="The index, a folder."
)
@click.option("--encoder", metavar="NAME", help="Hub id or folder of an encoder; the offline default unless given.")
@encoder_options
@click.option("--overwrite", is_flag=True, help="Replace the index at PATH, once the new one is complete.")
@click.option("--resume", is_flag=True, help="Go on with the index at PATH: add the documents that it lacks.")
@engine_options
@json_option
def index(
    sources: tuple[Path, ...],
    output: Path,
    encoder: str | None,
    encoder_settings: dict[str, Any],
    overwrite: bool,
    resume: bool,
    nbits: str | None,
    keep_vectors: bool | None,
    filterable: dict[str, type] | None,
    json_file: str | None,
) -> None:
    """Index documents: .jsonl, .csv, .txt and .md files, plain or .gz, and folders of them.

    Of a folder, corpus.jsonl is read where there is one (the BEIR format). JSON objects and CSV rows have the fields
    _id (or id), title and text; every other field is kept as metadata, CSV's as text unless --filterable says what it
    is. Without an id, file and line stand for it. A .txt or .md file is one document.

    Or take over the vectors of an index that fast-plaid, PyLate or Stanford's ColBERT made: name its folder, and as
    --encoder the model it was made with, without which the new index answers vectors only, from Python.

    Documents are committed as they are encoded: after Ctrl-C, --resume goes on.
    """
    if overwrite and resume:
        raise click.UsageError("--overwrite and --resume exclude each other; choose one", click.get_current_context())
    from serotine.cli.importing import foreign
    from serotine.cli.replacement import recover, replacing
    from serotine.errors import IndexExistsError

    def load() -> Encoder:
        return load_encoder(encoder, **encoder_settings)

    def build(path: Path) -> dict[str, Any]:
        return _build(sources, path, load, engine) if vectors is None else _import(vectors, path, named, engine)

    started = time.monotonic()
    named = load if encoder is not None or encoder_settings else None
    vectors = foreign(sources)
    engine = Engine(None if nbits is None else int(nbits), keep_vectors, filterable)
    recover(output)
    vacant = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if (vacant or not resume) and Path.cwd().is_relative_to(output.resolve()):
        # An index is renamed into place when it is made: the shell would be left in a folder that is gone.
        raise click.BadParameter(
            f"{str(output)!r} is the folder you are in, or above it; name one of its own, such as name.serotine",
            click.get_current_context(),
            param_hint="'--output'",
        )
    if vacant:
        result = build(output)
    elif resume and vectors is not None:
        result = _import(vectors, output, named, engine, there=True)
    elif resume:
        result = _resume(sources, output, named, engine)
    elif overwrite:
        try:
            with replacing(output) as building:
                result = build(building)
        except (KeyboardInterrupt, Interrupted):
            raise Interrupted(f"interrupted; {output} is as it was") from None
    else:
        raise IndexExistsError(
            f"{output}: exists already; --resume adds what it lacks, --overwrite replaces it, "
            "or choose another --output"
        )
    seconds = time.monotonic() - started
    skipped = f" ({result['skipped']:,} were there already)" if result["skipped"] else ""
    advice = (
        f'Ask it: serotine search {output} "your question"'
        if result["encoder"]
        else "It has no encoder: ask it from Python, with vectors; or index again with the --encoder they are of."
    )
    held = f"{plural(result['documents'], 'document')}, {plural(result['tokens'], 'token')}, {size(result['bytes'])}"
    lines = (
        f"{output}: {plural(result['added'], 'document')} indexed in {seconds:,.1f} s{skipped}; it holds {held}.\n"
        + advice
    )
    report(lines, {"path": str(output), **result, "seconds": seconds}, json_file)


def _build(sources: tuple[Path, ...], path: Path, load: Callable[[], Encoder], engine: Engine) -> dict[str, Any]:
    from serotine.cli.loading import Loading, survey
    from serotine.index import Index

    # Everything that can be wrong is found before anything appears at `path`.
    found = survey(sources, filterable=engine.fields())
    with Index.create(path, encoder=load(), **engine.arguments()) as made:
        loading = Loading(made)
        _load(loading, path, sources, found.documents, there=0)
        return _result(made, loading.added, skipped=0)


def _resume(
    sources: tuple[Path, ...], path: Path, load: Callable[[], Encoder] | None, engine: Engine
) -> dict[str, Any]:
    from serotine.cli.loading import Loading, survey
    from serotine.cli.writing import open_for_texts

    with open_for_texts(path, load() if load is not None else None) as opened:
        engine.check_against(opened.stats())
        found = survey(sources, opened)
        loading = Loading(opened)
        _load(loading, path, sources, found.documents - found.known, there=len(opened))
        return _result(opened, loading.added, skipped=found.known)


def _import(
    source: PlaidIndex, path: Path, load: Callable[[], Encoder] | None, engine: Engine, *, there: bool = False
) -> dict[str, Any]:
    from serotine.cli import importing

    opened, added = (importing.resume if there else importing.build)(source, path, load, engine)
    with opened:
        return _result(opened, added, skipped=len(source.ids) - added)


def _load(loading: Loading, path: Path, sources: tuple[Path, ...], total: int, *, there: int) -> None:
    try:
        loading.run(sources, total, expected=there + total, skip_known=True)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; {plural(loading.added, 'document')} of {total:,} are safe in {path}: "
            "run the same command with --resume to go on"
        ) from None


def _result(index: Index, added: int, *, skipped: int) -> dict[str, Any]:
    stats = index.stats()
    return {
        "added": added,
        "skipped": skipped,
        "documents": stats.documents,
        "tokens": stats.tokens,
        "bytes": stats.bytes,
        "encoder": stats.encoder,
    }
