"""Run the index benchmark of this repository, and add the peers that were measured on the same vectors.

    python benchmarks/index.py PASSAGES QUERIES --cache FOLDER [--peer FILE]... [--rounds N]

PASSAGES and QUERIES are those of `serotine bench index`; each FILE is what benchmarks/index_peers.py wrote for one
peer, in its own environment, on FOLDER. Writes benchmarks/results/index.json, and draws docs/index.svg: engines over
the same 20,000 passages.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from serotine.bench import draw_index
from serotine.cli import main as command

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks/results/index.json"
CHART = ROOT / "docs/index.svg"
CHART_PROFILES = ("4 bits", "2 bits", "4 bits, codes only", "2 bits, codes only")


def peer_rows(peer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a peer's operating points as rows of the chart."""
    return [{"engine": f"{peer['engine']} {peer['version']}", **row} for row in peer.get("searched", [])]


def chart(result: dict[str, Any]) -> str:
    """Draw recall@10 by time; Serotine's profiles with k=10, peers with the k they were measured with."""
    documents = result["collection"]["documents"]
    ours = [row for row in result["searched"] if row["engine"] in CHART_PROFILES and row["k"] == 10]
    ours = [{**row, "engine": f"serotine, {row['engine']}"} for row in ours if not row["setting"].startswith("exact")]
    peers = [row for peer in result["peers"] if peer["documents"] == documents for row in peer_rows(peer)]
    rows = [*ours, *({**row, "k": 10} for row in peers)]
    return draw_index(rows, 10, f"{documents:,} passages, 128 dimensions: time and recall of the ten best")


def main() -> int:
    """Measure, add the peers, write the result and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passages")
    parser.add_argument("queries")
    parser.add_argument("--cache", required=True)
    parser.add_argument("--peer", type=Path, action="append", default=[])
    parser.add_argument("--rounds", default="2")
    arguments = parser.parse_args()
    options = ["--cache", arguments.cache, "--rounds", arguments.rounds, "--json", str(RESULT)]
    status = command(["bench", "index", arguments.passages, arguments.queries, *options])
    if status:
        return status
    result = json.loads(RESULT.read_text())
    result["peers"] = [json.loads(file.read_text()) for file in arguments.peer]
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    CHART.write_text(chart(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
