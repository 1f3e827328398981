"""nDCG@10 of late interaction, of the same model's pooled vector, and of BM25, on judged collections.

    python benchmarks/quality.py examples/cranfield [FOLDER...] --encoder ENCODER --json benchmarks/results/quality.json

What `serotine eval --model ENCODER --dense ENCODER --bm25 FOLDER...` does; and with --queries and --nfc, for encoders
and collections that need them.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
import unicodedata
from pathlib import Path

from serotine import Encoder
from serotine.bench import describe_machine
from serotine.evaluation import (
    BM25Baseline,
    Collection,
    EvaluationOptions,
    LateInteraction,
    Pooled,
    System,
    evaluate_system,
    load_beir,
)

PACKAGES = ["bm25s", "ir-measures", "numpy", "onnxruntime", "tokenizers"]


def prepared(collection: Collection, queries: int | None, nfc: bool) -> Collection:
    """The collection with its first so many judged queries, its texts normalised where asked."""
    chosen = dict(itertools.islice(collection.queries.items(), queries))
    documents = collection.documents
    if nfc:
        documents = {id_: unicodedata.normalize("NFC", text) for id_, text in documents.items()}
        chosen = {id_: unicodedata.normalize("NFC", text) for id_, text in chosen.items()}
    qrels = {query: collection.qrels[query] for query in chosen}
    return dataclasses.replace(collection, documents=documents, queries=chosen, qrels=qrels)


def main() -> int:
    """Measure every folder and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="BEIR folders")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--encoder", required=True, help="a dense encoder: hub id or folder")
    parser.add_argument("--queries", type=int, help="the first so many judged queries only")
    parser.add_argument("--nfc", action="store_true", help="normalise texts to NFC first, as some tokenizers need")
    arguments = parser.parse_args()
    encoder = Encoder(arguments.encoder)
    systems: dict[str, System] = {"bm25": BM25Baseline(), "pooled": Pooled(encoder), "late": LateInteraction(encoder)}
    judging = EvaluationOptions(["nDCG@10"], depth=100)
    rows = []
    for folder in arguments.folders:
        collection = prepared(load_beir(folder), arguments.queries, arguments.nfc)
        row: dict[str, object] = {
            "collection": collection.name,
            "documents": len(collection.documents),
            "queries": len(collection.queries),
        }
        started = time.perf_counter()
        for name, system in systems.items():
            judged, _ = evaluate_system(system, collection, judging, show_progress=True)
            row[name] = round(judged.metrics["nDCG@10"] * 100, 2)
        rows.append(row)
        print(*(f"{key} {value}" for key, value in row.items()), f"({time.perf_counter() - started:.0f} s)")
    result = {
        "metric": "nDCG@10",
        "depth": judging.depth,
        "retrieval": "exact MaxSim over float16 token vectors",
        "encoder": f"{Path(arguments.encoder).name}, {encoder.spec.document.length} tokens, no training for MaxSim",
        "machine": describe_machine(PACKAGES),
        "rows": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
