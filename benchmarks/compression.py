"""Run the compression benchmark of this repository: quality against bits, dimensions, pooling and candidates.

    python benchmarks/compression.py FOLDER... --cache FOLDER

Each FOLDER is a judged collection, as for `serotine bench compression`. Writes
benchmarks/results/compression-<collection>.json and draws docs/compression-<collection>.svg; with --draw, only draws.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from serotine.bench import draw_compression
from serotine.cli import main as command

ROOT = Path(__file__).parent.parent
# Large collections get fewer combinations: their indexes alone would take hours on a small machine.
OPTIONS = {
    "cranfield": "--dim 384 --dim 128 --dim 64 --pool-factor 1 --pool-factor 2 --pool-factor 3 "
    "--candidates 32 --candidates 128 --candidates default --rounds 2 --timed 40",
    "scifact": "--dim 384 --dim 128 --pool-factor 1 --pool-factor 2 --candidates 128 --candidates default "
    "--rounds 2 --timed 20",
}
DEFAULT_OPTIONS = "--rounds 2 --timed 20"


def main() -> int:
    """Measure every collection, write the results and draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", default="bench-compression")
    parser.add_argument("--draw", action="store_true")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        name = folder.resolve().name
        file = ROOT / f"benchmarks/results/compression-{name}.json"
        if not arguments.draw:
            options = OPTIONS.get(name, DEFAULT_OPTIONS).split()
            outputs = ["--cache", arguments.cache, "--json", str(file)]
            status = command(["bench", "compression", str(folder), *options, *outputs])
            if status:
                return status
        result = json.loads(file.read_text())
        title = f"{name}, {result['collection']['encoder']}: quality against compression"
        (ROOT / f"docs/compression-{name}.svg").write_text(draw_compression(result["searched"], title))
    return 0


if __name__ == "__main__":
    sys.exit(main())
