"""``serotine index`` of an index that fast-plaid, PyLate or Stanford's ColBERT made: its vectors, taken over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serotine.cli.index_options import Engine
from serotine.cli.output import Interrupted, plural, watched
from serotine.errors import EncoderError

if TYPE_CHECKING:
    from serotine.index import Index, TextEncoder
    from serotine.integrations import PlaidIndex


def foreign(sources: Sequence[Path]) -> PlaidIndex | None:
    """The index that the one source is; None where the sources are files and folders of text.

    Raises:
        click.UsageError: such an index stands beside other sources.
        InputFileError: it cannot be read.
    """
    from serotine import integrations

    found = next((source for source in sources if source.is_dir() and integrations.find_plaid(source)), None)
    if found is None:
        return None
    if len(sources) > 1:
        raise click.UsageError(
            f"{found} is an index of vectors, and stays alone; index the rest separately", click.get_current_context()
        )
    return integrations.read_plaid(found)


def build(source: PlaidIndex, path: Path, load: Callable[[], TextEncoder] | None, engine: Engine) -> tuple[Index, int]:
    """A new index with the vectors of `source`, open, and how many documents were added."""
    from serotine.index import Index

    if load is None:
        return _taken(Index.create(path, dim=source.dim, **engine.arguments()), source, path)
    encoder = load()
    if encoder.dim != source.dim:
        raise EncoderError(
            f"{source.folder}: holds vectors of dimension {source.dim}, the encoder makes {encoder.dim}; "
            "name the encoder that the index was made with"
        )
    return _taken(Index.create(path, encoder=encoder, **engine.arguments()), source, path)


def update(source: PlaidIndex, path: Path, load: Callable[[], TextEncoder] | None, engine: Engine) -> tuple[Index, int]:
    """An index that is there, with what it lacks of `source`, open, and how many documents were added."""
    from serotine.index import Index

    opened = Index.open(path, encoder=None if load is None else load())
    try:
        engine.check_against(opened.stats())
        if opened.dim != source.dim:
            raise EncoderError(f"{path}: holds vectors of dimension {opened.dim}, {source.folder} of {source.dim}")
    except BaseException:
        opened.close()
        raise
    return _taken(opened, source, path)


def _taken(index: Index, source: PlaidIndex, path: Path) -> tuple[Index, int]:
    try:
        there = len(index)
        added = index.add_batches(
            source.batches(), expected_documents=max(len(source.ids), there), show_progress=watched()
        )
    except KeyboardInterrupt:
        safe = len(index)
        index.close()
        raise Interrupted(
            f"interrupted; {plural(safe, 'document')} of {len(source.ids):,} are safe in {path}: "
            "run the same command again to go on"
        ) from None
    except BaseException:
        index.close()
        raise
    return index, added
