"""Write training pairs from a collection: each title as the query, its text as the positive.

    python examples/training/pairs.py examples/cranfield/corpus.jsonl.gz examples/training/pairs.jsonl

Your own pairs need the same two fields: a query as a person would ask it, and a passage that answers it.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path


def main(corpus: Path, pairs: Path) -> None:
    """Read BEIR's corpus.jsonl.gz and write one pair per document that has both a title and a text."""
    written = 0
    with gzip.open(corpus, "rt", encoding="utf-8") as source, pairs.open("w", encoding="utf-8") as target:
        for document in map(json.loads, source):
            if document["title"] and document["text"]:
                target.write(json.dumps({"query": document["title"], "positive": document["text"]}) + "\n")
                written += 1
    print(f"{pairs}: {written:,} pairs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
