"""``serotine restore``: write a snapshot back, beside the index that it then replaces."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from serotine.cli.output import Interrupted, as_option, json_option, plural, report, run_again, size


@click.command()
@click.argument("snapshot", metavar="SNAPSHOT")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the index.")
@click.option("--overwrite", is_flag=True, help="Replace an index that is there; it stays in use until then.")
@click.option("--name", help="Which snapshot of a URL; by default the newest. `serotine snapshots URL` lists them.")
@json_option
def restore(snapshot: str, output: Path, name: str | None, overwrite: bool, json_file: str | None) -> None:
    """Write SNAPSHOT, a folder or URL, to the folder of an index, checking every byte.

    The copy takes its place in one step when it is complete; a server picks it up. A download that is interrupted is
    resumed by the same command.
    """
    from serotine.index import Index

    started = time.monotonic()
    try:
        restored = Index.restore(snapshot, output, name=name, overwrite=overwrite, show_progress=True)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {output} is unchanged; {run_again()}") from None
    except ValueError as error:
        raise click.UsageError(as_option(str(error), "name"), click.get_current_context()) from None
    source = snapshot if restored.name is None else f"snapshot {restored.name} of {snapshot}"
    seconds = time.monotonic() - started
    report(
        f"{output}: {plural(restored.documents, 'document')}, {plural(restored.files, 'file')} of "
        f"{size(restored.bytes)}, from {source}; {seconds:,.1f} s.",
        {"path": str(output), "snapshot": snapshot, **asdict(restored), "seconds": seconds},
        json_file,
    )
