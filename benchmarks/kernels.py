"""Run the kernel benchmark of this repository: every shape, dimensions 48, 96 and 128, one and two threads.

    python benchmarks/kernels.py [--rounds N]

Writes benchmarks/results/kernels.json, and draws 128 dimensions on one thread as docs/kernels.svg. On any machine:
`serotine bench kernels`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from serotine.cli import main

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks/results/kernels.json"
OPTIONS = ["--dim", "128", "--dim", "96", "--dim", "48", "--threads", "1", "--threads", "2", "--json", str(RESULT)]


def chart() -> None:
    """Draw the chart of docs/kernels.md."""
    # Imported late: it loads NumPy, and the command must set OpenBLAS's environment variables first.
    from serotine.bench import KernelTiming, draw_kernels

    rows = [KernelTiming(**row) for row in json.loads(RESULT.read_text())["rows"]]
    chart_rows = [row for row in rows if (row.dim, row.threads) == (128, 1)]
    (ROOT / "docs/kernels.svg").write_text(draw_kernels(chart_rows))


if __name__ == "__main__":
    status = main(["bench", "kernels", *OPTIONS, *sys.argv[1:]])
    if status == 0:
        chart()
    sys.exit(status)
