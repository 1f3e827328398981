"""The index figures of this repository: our engine, and the peers that were measured on the same vectors.

    python benchmarks/index.py PASSAGES QUESTIONS --cache FOLDER [--peer FILE]... [--rounds N]

PASSAGES and QUESTIONS are what `serotine bench index` takes; each FILE is what benchmarks/index_peers.py wrote for one
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
SHOWN = ("4 bits", "2 bits", "4 bits, vectors not kept", "2 bits, vectors not kept")


def rows_of(peer: dict[str, Any]) -> list[dict[str, Any]]:
    """A peer's operating points as the chart wants them."""
    return [{"engine": f"{peer['engine']} {peer['version']}", **row} for row in peer.get("searched", [])]


def chart(result: dict[str, Any]) -> str:
    """Recall of the ten best, by time; our profiles when asked for ten, peers as they were measured."""
    documents = result["collection"]["documents"]
    ours = [row for row in result["searched"] if row["engine"] in SHOWN and row["k"] == 10]
    ours = [{**row, "engine": f"serotine, {row['engine']}"} for row in ours if not row["setting"].startswith("exact")]
    peers = [row for peer in result["peers"] if peer["documents"] == documents for row in rows_of(peer)]
    everyone = [*ours, *({**row, "k": 10} for row in peers)]
    return draw_index(everyone, 10, f"{documents:,} passages, 128 dimensions: time and recall of the ten best")


def main() -> int:
    """Measures, joins, writes, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("passages")
    parser.add_argument("questions")
    parser.add_argument("--cache", required=True)
    parser.add_argument("--peer", type=Path, action="append", default=[])
    parser.add_argument("--rounds", default="2")
    given = parser.parse_args()
    options = ["--cache", given.cache, "--rounds", given.rounds, "--json", str(RESULT)]
    status = command(["bench", "index", given.passages, given.questions, *options])
    if status:
        return status
    result = json.loads(RESULT.read_text())
    result["peers"] = [json.loads(file.read_text()) for file in given.peer]
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    CHART.write_text(chart(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
