"""Write the kernel repository: ``python -m serotine.integrations.hf_kernels OUTPUT``."""

from __future__ import annotations

from pathlib import Path

import click

from serotine.errors import reason
from serotine.integrations.hf_kernels.layout import write_kernel


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def main(output: Path) -> None:
    """Write the MaxSim kernel repository to the folder OUTPUT, for Hugging Face's `kernels`."""
    try:
        variants = write_kernel(output)
    except (FileExistsError, NotADirectoryError) as error:
        raise click.ClickException(reason(error)) from None
    for variant in variants:
        click.echo(variant)


if __name__ == "__main__":
    main(prog_name="python -m serotine.integrations.hf_kernels")
