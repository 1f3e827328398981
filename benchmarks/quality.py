"""Measure nDCG@10 of late interaction, of the same model's pooled vector, and of BM25, on judged collections.

    python benchmarks/quality.py examples/cranfield [FOLDER...] --encoder ENCODER --json benchmarks/results/quality.json

Does what `serotine eval --model ENCODER --dense ENCODER --bm25 FOLDER...` does, with --queries and --nfc for encoders
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
    """Return the collection with only its first judged queries, and with texts normalized to NFC if `nfc` is true."""
    query_texts = dict(itertools.islice(collection.queries.items(), queries))
    documents = collection.documents
    if nfc:
        documents = {id_: unicodedata.normalize("NFC", text) for id_, text in documents.items()}
        query_texts = {id_: unicodedata.normalize("NFC", text) for id_, text in query_texts.items()}
    qrels = {query: collection.qrels[query] for query in query_texts}
    return dataclasses.replace(collection, documents=documents, queries=query_texts, qrels=qrels)


def main() -> int:
    """Measure every folder and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="BEIR folders")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--encoder", required=True, help="a dense encoder: hub id or folder")
    parser.add_argument("--queries", type=int, help="only this many judged queries, the first ones")
    parser.add_argument("--nfc", action="store_true", help="normalize texts to NFC first, as some tokenizers require")
    arguments = parser.parse_args()
    encoder = Encoder(arguments.encoder)
    systems: dict[str, System] = {"bm25": BM25Baseline(), "pooled": Pooled(encoder), "late": LateInteraction(encoder)}
    options = EvaluationOptions(["nDCG@10"], depth=100)
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
            evaluated, _ = evaluate_system(system, collection, options, show_progress=True)
            row[name] = round(evaluated.metrics["nDCG@10"] * 100, 2)
        rows.append(row)
        print(*(f"{key} {value}" for key, value in row.items()), f"({time.perf_counter() - started:.0f} s)")
    result = {
        "metric": "nDCG@10",
        "depth": options.depth,
        "retrieval": "exact MaxSim over float16 token vectors",
        "encoder": f"{Path(arguments.encoder).name}, {encoder.spec.document.length} tokens, no training for MaxSim",
        "backend": choice.backend if (choice := encoder.backend_choice) else None,
        "machine": describe_machine(PACKAGES),
        "rows": rows,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
