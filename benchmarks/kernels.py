"""The kernel figures of this repository: every shape, dims 48, 96 and 128, one and two threads.

    python benchmarks/kernels.py

writes benchmarks/results/kernels.json and docs/kernels.svg. The same measurement, as a command for any machine, is
`serotine bench kernels`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from serotine.cli import main

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    options = ["--dim", "128", "--dim", "96", "--dim", "48", "--threads", "1", "--threads", "2"]
    outputs = ["--json", str(ROOT / "benchmarks/results/kernels.json"), "--chart", str(ROOT / "docs/kernels.svg")]
    sys.exit(main(["bench", "kernels", *options, *outputs, *sys.argv[1:]]))
