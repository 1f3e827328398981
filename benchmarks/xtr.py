"""Compare XTR's search (Lee et al. 2023) with exact MaxSim, on the same vectors of serotine-mini.

    python benchmarks/xtr.py --work FOLDER COLLECTION... [--search | --time]

Each COLLECTION is a BEIR folder. Every query token retrieves its `k_token` most similar tokens among all documents,
exactly; a document's missing similarity is that of the last retrieved token (`serotine.maxsim.reference.xtr` with
``impute=True``). Only documents with a retrieved token are ranked; their share says what a search could save. The
differences of nDCG@10 are tested per collection by randomization, with Holm's correction over all comparisons.

The same for ``Index.search(mode="xtr")`` over an index of these vectors, beside its staged search: nDCG@10, the share
of the ten best by MaxSim that are found, and milliseconds per query, one query at a time, all searches in turn. Indexes
and query vectors stay in FOLDER: with ``--search`` only these searches are measured again, with ``--time`` only their
milliseconds, in about a minute. Results of collections that are not named stay. Needs the extra [eval]. Writes
benchmarks/results/xtr.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from significance import add_corrected_p

from serotine import Encoder, Index
from serotine.bench import describe_machine
from serotine.evaluation import Run, evaluate_queries, load_beir, randomization_test
from serotine.index import Hits

RESULT = Path(__file__).parent / "results/xtr.json"
K_TOKEN = (100, 1_000, 4_000, 10_000)
DEPTH, METRIC = 10, "nDCG@10"
# Queries that are timed, and rounds.
TIMED, ROUNDS = 50, 3


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


def searches(index: Index, queries: Sequence[NDArray[np.float32]]) -> dict[int, list[Hits]]:
    """Return the hits of the staged search, under 0, and of mode "xtr" by `k_token`."""
    xtr = {k_token: index.search_batch(queries, DEPTH, mode="xtr", k_token=k_token) for k_token in K_TOKEN}
    return {0: index.search_batch(queries, DEPTH), **xtr}


def measure_index(folder: Path, work: Path) -> dict[str, Any]:
    """Return quality of searches of an index: nDCG@10, and the share found of the ten best by MaxSim."""
    collection = load_beir(folder)
    ids, queries, qrels = list(collection.queries), query_vectors(folder.name, work), collection.qrels
    with Index.open(work / f"{folder.name}.serotine", read_only=True) as index:
        exact_hits, all_answers = index.search_batch(queries, DEPTH, exact=True), searches(index, queries)
    exact = [{hit.id for hit in hits} for hits in exact_hits]
    values: dict[int, NDArray[np.float64]] = {}
    rows = []
    for k_token, answers in all_answers.items():
        run: Run = {id_: {hit.id: hit.score for hit in hits} for id_, hits in zip(ids, answers, strict=True)}
        values[k_token] = np.array([figures[METRIC] for figures in evaluate_queries(qrels, run).values()])
        differences = values[k_token] - values[0]
        found = [
            len(best & {hit.id for hit in hits}) / max(len(best), 1) for best, hits in zip(exact, answers, strict=True)
        ]
        rows.append(
            {
                "k_token": k_token,
                "ndcg_at_10": float(values[k_token].mean()),
                "difference": float(differences.mean()),
                "p": randomization_test(differences)[0] if k_token else 1.0,
                "recall_at_10": float(np.mean(found)),
                "tokens_read": float(np.mean([hits.stats.tokens for hits in answers])),
                "plan": answers[0].stats.plan,
            }
        )
    return {"coded": "centroids" in answers[0].stats.counts, "search": rows[0], "xtr": rows[1:]}


def time_index(index: Index, queries: Sequence[NDArray[np.float32]]) -> dict[int, float]:
    """Return milliseconds per query of every search, the median of rounds in which they take turns."""
    rounds: dict[int, list[float]] = {k_token: [] for k_token in (0, *K_TOKEN)}
    for _ in range(ROUNDS):
        for k_token, seconds in rounds.items():
            started = time.perf_counter()
            for query in queries[:TIMED]:
                if k_token:
                    index.search(query, DEPTH, mode="xtr", k_token=k_token)
                else:
                    index.search(query, DEPTH)
            seconds.append((time.perf_counter() - started) / min(len(queries), TIMED))
    return {k_token: statistics.median(seconds) * 1e3 for k_token, seconds in rounds.items()}


def add_milliseconds(row: dict[str, Any], work: Path) -> None:
    """Add the milliseconds of every search to a collection's figures."""
    with Index.open(work / f"{row['collection']}.serotine", read_only=True) as index:
        milliseconds = time_index(index, query_vectors(row["collection"], work))
    for search in (row["index"]["search"], *row["index"]["xtr"]):
        search["milliseconds"] = milliseconds[search["k_token"]]


def build(folder: Path, encoder: Encoder, work: Path) -> None:
    """Encode a collection once: its index and its queries' vectors stay in `work`."""
    if (work / f"{folder.name}.npz").exists():
        return
    collection = load_beir(folder)
    documents = encoder.encode_documents(list(collection.documents.values()))
    shutil.rmtree(work / f"{folder.name}.serotine", ignore_errors=True)
    with Index.create(work / f"{folder.name}.serotine", dim=encoder.dim) as index:
        index.add(list(collection.documents), vectors=documents)
        index.compact()
    np.savez(work / f"{folder.name}.npz", *encoder.encode_queries(list(collection.queries.values())))


def query_vectors(name: str, work: Path) -> list[NDArray[np.float32]]:
    """Return the stored vectors of a collection's queries."""
    stored = np.load(work / f"{name}.npz")
    return [stored[key] for key in stored.files]


def measure(folder: Path, work: Path) -> dict[str, Any]:
    """Return the figures of one collection by exhaustive comparison."""
    collection = load_beir(folder)
    ids, queries = list(collection.documents), list(collection.queries)
    with Index.open(work / f"{folder.name}.serotine", read_only=True) as index:
        documents = [index.vectors(id_) for id_ in ids]
    offsets = np.cumsum([0, *map(len, documents)])
    owners = np.repeat(np.arange(len(ids)), np.diff(offsets))
    tokens = np.concatenate(documents).astype(np.float32)
    runs: dict[int, Run] = {k_token: {} for k_token in (0, *K_TOKEN)}
    shares: dict[int, list[float]] = {k_token: [] for k_token in K_TOKEN}
    for id_, query in zip(queries, query_vectors(folder.name, work), strict=True):
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


def write(path: Path, rows: list[dict[str, Any]], others: dict[str, Any], *, busy: bool) -> None:
    """Write the figures so far, and those of the collections that were measured before."""
    rows = rows + list(others.values())
    add_corrected_p([row for collection in rows for row in collection["xtr"]])
    add_corrected_p([row for collection in rows if "index" in collection for row in collection["index"]["xtr"]])
    timed_on = "a machine on which other programs ran; only their order of size means something" if busy else ""
    machine = describe_machine(["serotine", "ir-measures", "numpy"])
    path.write_text(json.dumps({"machine": machine, "timed_on": timed_on, "rows": rows}, indent=1) + "\n")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", type=Path, metavar="COLLECTION")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="where indexes stay")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--search", action="store_true", help="measure the index's searches again, not exhaustively")
    steps.add_argument("--time", action="store_true", help="measure the milliseconds of the index's searches again")
    parser.add_argument("--busy", action="store_true", help="note that other programs ran while time was measured")
    parser.add_argument("--output", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    known = {row["collection"]: row for row in json.loads(RESULT.read_text())["rows"]} if RESULT.exists() else {}
    rows = []
    for folder in arguments.collections:
        build(folder, Encoder(), arguments.work)
        keeps_rest = folder.name in known and (arguments.search or arguments.time)
        rows.append(known.pop(folder.name) if keeps_rest else measure(folder, arguments.work))
        if not arguments.time:
            rows[-1]["index"] = measure_index(folder, arguments.work)
        add_milliseconds(rows[-1], arguments.work)
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        write(arguments.output, rows, known, busy=arguments.busy)


if __name__ == "__main__":
    main()
