"""Search an index with pooled vectors in mode "pooled", with every first stage, beside mode "late".

    python benchmarks/pooled_index.py ENCODER POOLED COLLECTION [--threads N]

For example mini MINILM examples/cranfield, where the last is a BEIR folder. ENCODER is the encoder of the tokens,
POOLED a dense encoder (hub id or folder), or "same" for the vector of ENCODER. Two indexes are built, with pooled ones
and without, and the seconds of both are written. The weights are fitted on the training queries where the collection
has some, else they are the default. A query is encoded before it is timed; all ways of searching take turns, query by
query, on one thread, whose CPU time is measured, twice each. Needs the extra [eval]. Adds to
benchmarks/results/pooled_index.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from serotine import Encoder, Index, maxsim
from serotine.bench import describe_machine
from serotine.evaluation import evaluate, fit_pooled_weights, load_beir

RESULT = Path(__file__).parent / "results/pooled_index.json"
METRIC, DEPTH, ROUNDS = "nDCG@10", 10, 2
SEARCHES: dict[str, dict[str, Any]] = {
    "late": {},
    "pooled, both stages": {"mode": "pooled"},
    "pooled, both stages, exact": {"mode": "pooled", "exact": True},
    'pooled, first_stage="tokens"': {"mode": "pooled", "first_stage": "tokens"},
    'pooled, first_stage="pooled"': {"mode": "pooled", "first_stage": "pooled"},
    "pooled, weights=(0, 1)": {"mode": "pooled", "weights": (0, 1)},
}


def built(path: Path, encoder: Encoder, pooled: Any, documents: dict[str, str]) -> float:
    """Build an index; return the seconds."""
    started = time.perf_counter()
    with Index.create(path, encoder=encoder, pooled=pooled) as index:
        index.add(list(documents), list(documents.values()))
        index.compact()
    return time.perf_counter() - started


def measured(encoder: Encoder, pooled: Any, folder: Path) -> dict[str, Any]:
    """Return the figures of one collection."""
    collection = load_beir(folder)
    documents = dict(collection.documents)
    with tempfile.TemporaryDirectory() as temporary:
        seconds = {
            name: built(Path(temporary, name), encoder, vectors, documents)
            for name, vectors in (("without", None), ("with", pooled))
        }
        model = encoder if pooled is True else pooled
        with Index.open(Path(temporary, "with"), encoder=encoder, pooled=model) as index:
            has_train = (folder / "qrels/train.tsv").exists()
            if has_train:
                print(fit_pooled_weights(index, load_beir(folder, "train")).statement, file=sys.stderr, flush=True)
            stats = index.stats()
            queries = {id_: text for id_, text in collection.queries.items() if id_ in collection.qrels}
            tokens = encoder.encode_queries(list(queries.values()))
            vectors = model.encode_pooled(list(queries.values()), query=True)
            rows = searched(index, dict(zip(queries, zip(tokens, vectors, strict=True), strict=True)), collection.qrels)
    if stats.pooled is None:
        raise RuntimeError("the index has lost its pooled vectors")
    return {
        "collection": folder.name,
        "documents": stats.documents,
        "tokens": stats.tokens,
        "queries": len(queries),
        "weights": stats.pooled.weights,
        "fitted": has_train,
        "pooled_bytes": stats.pooled.bytes,
        "bytes": stats.bytes,
        "seconds": seconds,
        "searches": rows,
    }


def searched(index: Index, queries: dict[str, Any], qrels: Any) -> list[dict[str, Any]]:
    """Return quality and time of every way of searching."""
    runs: dict[str, dict[str, dict[str, float]]] = {name: {} for name in SEARCHES}
    times: dict[str, list[float]] = {name: [] for name in SEARCHES}
    extra: dict[str, list[int]] = {name: [] for name in SEARCHES}
    maxsim.set_num_threads(1)
    for _ in range(ROUNDS):
        for id_, (tokens, vector) in queries.items():
            for name, options in SEARCHES.items():
                given = {"pooled": vector} if options else {}
                started = time.thread_time()
                hits = index.search(tokens, DEPTH, **options, **given)
                times[name].append((time.thread_time() - started) * 1e3)
                runs[name][id_] = {hit.id: hit.score for hit in hits}
                extra[name].append(hits.stats.counts.get("maxsim", 0))
    best = runs["pooled, both stages, exact"]
    return [
        {
            "search": name,
            METRIC: evaluate(qrels, runs[name], [METRIC])[METRIC],
            "ms": float(np.median(times[name])),
            "p95": float(np.percentile(times[name], 95)),
            "maxsim": float(np.mean(extra[name])),
            "of_exact": float(
                np.mean([len(best[id_].keys() & hits.keys()) / DEPTH for id_, hits in runs[name].items()])
            ),
        }
        for name in SEARCHES
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("pooled")
    parser.add_argument("collection", type=Path)
    parser.add_argument("--threads", type=int, help="of the encoders")
    arguments = parser.parse_args()
    encoder = Encoder(arguments.encoder, num_threads=arguments.threads)
    pooled = True if arguments.pooled == "same" else Encoder(arguments.pooled, num_threads=arguments.threads)
    row = measured(encoder, pooled, arguments.collection)
    row = {"late": name_of(encoder), "pooled": name_of(pooled if isinstance(pooled, Encoder) else encoder), **row}
    stored = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": []}
    key = ("late", "pooled", "collection")
    rows = [other for other in stored["rows"] if [other[name] for name in key] != [row[name] for name in key]]
    machine = describe_machine(["serotine", "ir-measures", "numpy"])
    RESULT.write_text(json.dumps({"machine": machine, "rows": [*rows, row]}, indent=1) + "\n")
    print(json.dumps(row, indent=1), file=sys.stderr)


def name_of(encoder: Encoder) -> str:
    """Return the last part of an encoder's name that says something: a package's folder of a model is "model"."""
    return next(part for part in reversed(Path(encoder.name).parts) if part != "model")


if __name__ == "__main__":
    main()
