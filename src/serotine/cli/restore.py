"""``serotine restore``: write a snapshot back, beside the index that it then replaces."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, json_option, plural, report, size


@click.command()
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the index.")
@click.option("--overwrite", is_flag=True, help="Replace an index that is there; it stays in use until then.")
@json_option
def restore(snapshot: Path, output: Path, overwrite: bool, json_file: str | None) -> None:
    """Copy SNAPSHOT to the folder of an index, checking every file.

    The copy takes its place in one step when it is complete; a server picks it up.
    """
    from serotine.errors import IndexExistsError
    from serotine.index import Index

    started = time.monotonic()
    try:
        restored = Index.restore(snapshot, output, overwrite=overwrite)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {output} is unchanged") from None
    except IndexExistsError as error:
        raise IndexExistsError(str(error).replace("pass overwrite=True", "pass --overwrite")) from None
    seconds = time.monotonic() - started
    report(
        f"{output}: {plural(restored.documents, 'document')}, {plural(restored.files, 'file')} of "
        f"{size(restored.bytes)}, from {snapshot}; {seconds:,.1f} s.",
        {"path": str(output), "snapshot": str(snapshot), **asdict(restored), "seconds": seconds},
        json_file,
    )
