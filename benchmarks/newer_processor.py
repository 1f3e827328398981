"""Keep the main figures of an index and of the encoder, measured on another processor than the other results.

    python benchmarks/newer_processor.py ENCODING MILLION INDEX... [--peer PEER]...

ENCODING: results of benchmarks/encoding.py. MILLION: results of benchmarks/million.py. INDEX: results of `serotine
bench index`, one file for each number of passages N. PEER: results of benchmarks/index_peers.py on the same vectors and
the same processor. Writes benchmarks/results/newer_processor.json.

    serotine bench index PASSAGES QUERIES --documents N --cache FOLDER --profile "4 bits" --rounds 2 --json INDEX
    python benchmarks/encoding.py PASSAGES COLLECTIONS WORK --json ENCODING
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results/newer_processor.json"
SETTINGS = ("brute force, float16", "default", "recall=", "exact=True")


def kept(index: Any) -> list[dict[str, Any]]:
    """Return the rows of brute force, of recalls asked for, and of exact searches."""
    return [
        row for row in index["searched"] if row["engine"].startswith(SETTINGS) or row["setting"].startswith(SETTINGS)
    ]


def main() -> int:
    """Write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoding", type=Path)
    parser.add_argument("million", type=Path)
    parser.add_argument("index", type=Path, nargs="+")
    parser.add_argument("--peer", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    files = (arguments.encoding, arguments.million, *arguments.index)
    encoding, million, *indexes = (json.loads(file.read_text("utf-8")) for file in files)
    processors = {result["machine"]["processor"] for result in (encoding, million, *indexes)}
    if len(processors) > 1:
        parser.error(f"ENCODING, MILLION, INDEX: must be of one processor, got {' and '.join(sorted(processors))}")
    result = {
        "machine": encoding["machine"],
        "indexes": [{"collection": index["collection"], "searched": kept(index)} for index in indexes],
        "peers": [json.loads(peer.read_text("utf-8")) for peer in arguments.peer],
        # Without its building: other work ran beside it.
        "million": {key: million[key] for key in ("documents", "tokens", "segments", "searched")},
        "encoding": {key: encoding[key] for key in ("passages", "query_of_12_tokens", "lengths", "vnni")},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
