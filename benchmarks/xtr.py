"""Compare XTR's search (Lee et al. 2023) with exact MaxSim, on the same vectors of serotine-mini.

    python benchmarks/xtr.py COLLECTION...

Each COLLECTION is a BEIR folder. Every query token retrieves its `k_token` most similar tokens among all documents,
exactly; a document's missing similarity is that of the last retrieved token (`serotine.maxsim.reference.xtr` with
``impute=True``). Only documents with a retrieved token are ranked; their share says what a search could save. The
differences of nDCG@10 are tested per collection by randomization, with Holm's correction over all comparisons. Needs
the extra [eval]. Writes benchmarks/results/xtr.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from significance import add_corrected_p

from serotine import Encoder
from serotine.bench import describe_machine
from serotine.evaluation import Run, evaluate_queries, load_beir, randomization_test

RESULT = Path(__file__).parent / "results/xtr.json"
K_TOKEN = (100, 1_000, 4_000, 10_000)
DEPTH, METRIC = 10, "nDCG@10"


def best_tokens(similarities: NDArray[np.float32], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return MaxSim of every document, float32 (documents,); -inf where it has no tokens."""
    scores = np.full(len(offsets) - 1, -np.inf, np.float32)
    filled = offsets[:-1] < offsets[1:]
    scores[filled] = np.maximum.reduceat(similarities, offsets[:-1][filled], axis=1).sum(axis=0)
    return scores


def imputed(similarities: NDArray[np.float32], owners: NDArray[np.int64], documents: int, k_token: int) -> Any:
    """Return the scores of every document, -inf where none of its tokens was retrieved."""
    totals, retrieved = np.zeros(documents, np.float32), np.zeros(documents, bool)
    for row in similarities:
        tokens = np.argpartition(-row, k_token - 1)[:k_token] if k_token < len(row) else np.arange(len(row))
        best = np.full(documents, row[tokens].min())
        np.maximum.at(best, owners[tokens], row[tokens])
        totals += best
        retrieved[owners[tokens]] = True
    return np.where(retrieved, totals, -np.inf)


def ranked(scores: NDArray[np.float32], ids: Sequence[str]) -> dict[str, float]:
    """Return the best documents and their scores."""
    best = np.argsort(-scores, kind="stable")[:DEPTH]
    return {ids[number]: float(scores[number]) for number in best if np.isfinite(scores[number])}


def measure(folder: Path, encoder: Encoder) -> dict[str, Any]:
    """Return the figures of one collection."""
    collection = load_beir(folder)
    ids, queries = list(collection.documents), list(collection.queries)
    documents = [
        vectors.astype(np.float16) for vectors in encoder.encode_documents(list(collection.documents.values()))
    ]
    offsets = np.cumsum([0, *map(len, documents)])
    owners = np.repeat(np.arange(len(ids)), np.diff(offsets))
    tokens = np.concatenate(documents).astype(np.float32)
    runs: dict[int, Run] = {k_token: {} for k_token in (0, *K_TOKEN)}
    shares: dict[int, list[float]] = {k_token: [] for k_token in K_TOKEN}
    for id_, query in zip(queries, encoder.encode_queries(list(collection.queries.values())), strict=True):
        similarities = query @ tokens.T
        runs[0][id_] = ranked(best_tokens(similarities, offsets), ids)
        for k_token in K_TOKEN:
            scores = imputed(similarities, owners, len(ids), k_token)
            runs[k_token][id_] = ranked(scores, ids)
            shares[k_token].append(float(np.isfinite(scores).mean()))
    values = {
        k_token: np.array([figures[METRIC] for figures in evaluate_queries(collection.qrels, run).values()])
        for k_token, run in runs.items()
    }
    xtr = []
    for k_token in K_TOKEN:
        differences = values[k_token] - values[0]
        xtr.append(
            {
                "k_token": k_token,
                "ndcg_at_10": float(values[k_token].mean()),
                "difference": float(differences.mean()),
                "p": randomization_test(differences)[0],
                "documents_retrieved": float(np.mean(shares[k_token])),
            }
        )
    return {
        "collection": folder.name,
        "queries": len(values[0]),
        "tokens": len(tokens),
        "maxsim_ndcg_at_10": float(values[0].mean()),
        "xtr": xtr,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", type=Path, metavar="COLLECTION")
    encoder = Encoder()
    rows = []
    for folder in parser.parse_args().collections:
        rows.append(measure(folder, encoder))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    compared = [row for collection in rows for row in collection["xtr"]]
    add_corrected_p(compared)
    machine = describe_machine(["serotine", "ir-measures", "numpy"])
    RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
