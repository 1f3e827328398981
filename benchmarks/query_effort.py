"""Measure the savings of more effort for hard queries and less for easy ones, at equal recall.

    python benchmarks/query_effort.py FOLDER... [--queries N] [--out FILE]

Each FOLDER is KIND/COLLECTION with token vectors, as `recall_vectors.py` writes them. A search scores its candidates
over their codes in the order of the residual stage. After the first of them, the differences of the two scores estimate
how likely each unscored document is among the hits: the sum is the number of hits expected to be missed. Two ways to
use it are compared with searches that give every query as many candidates:

- stop: candidates are scored until the expected misses are below a share of the hits. What is counted is documents
  over their codes; the stages before take as long as they did. The share is fitted to all queries: an upper bound.
- again: queries with the most expected misses are searched again with more candidates. What is counted is time: of
  both searches, or of the second alone, as if it could continue from the first. Half of the queries choose the
  settings, also those of one search for all; the other half measures them, both ways round.

One thread; the best of three rounds in turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Index, _core, maxsim
from serotine.bench import VectorCollection, describe_machine, load_vectors

Floats = NDArray[np.float64]
CANDIDATES = {
    10: (20, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384),
    100: (130, 160, 200, 250, 300, 350, 400, 450, 512, 600, 700, 900, 1200),
}
TARGETS = (0.97, 0.98, 0.99, 0.995)
# Shares of the hits that may be missed, and of the queries that are searched again.
MISSED = (0.1, 0.05, 0.035, 0.025, 0.018, 0.012, 0.008, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0002)
AGAIN = (0.15, 0.3, 0.45, 0.6)
ROUNDS = 3
# Documents of the residual stage that are looked at.
MOST = 2000
STEP = 16
_erfc = np.vectorize(math.erfc, otypes=[float])


@dataclass(frozen=True, slots=True)
class Ranked:
    """One query: all documents in the order of the residual stage.

    Attributes:
        residual: scores of the residual stage, falling.
        exact: MaxSim of these documents.
        numbers: of these documents.
    """

    residual: Floats
    exact: Floats
    numbers: NDArray[np.int64]

    def missed(self, scored: int, depth: int) -> float:
        """Return how many of the `depth` best are expected among the documents after the first `scored`."""
        differences = self.exact[:scored] - self.residual[:scored]
        lowest = np.partition(self.exact[:scored], -depth)[-depth]
        spread = float(differences.std()) + 1e-6
        distances = (lowest - self.residual[scored:MOST] - differences.mean()) / spread
        return float(_erfc(distances / math.sqrt(2)).sum() / 2)

    def best(self, depth: int) -> set[int]:
        """Return the numbers of the `depth` best documents."""
        return set(self.numbers[np.argsort(-self.exact, kind="stable")[:depth]].tolist())


def rank_all(index: Index, collection: VectorCollection, queries: Sequence[NDArray[np.float32]]) -> list[Ranked]:
    """Score every document of an index by the residual stage and exactly."""
    views = list(index._store.snapshot().segments.values())
    numbers = np.concatenate([view.numbers for view in views])
    ranked = []
    for query in queries:
        residual = []
        for view in views:
            scores = np.zeros(len(view.numbers), dtype=np.float32)
            _core.residual_scores(query, view.segment.core, scores)
            residual.append(scores)
        scores, order = maxsim.top_k(query, collection.vectors, collection.offsets, collection.documents)
        exact = np.empty(collection.documents)
        exact[order] = scores
        together = np.concatenate(residual).astype(np.float64)
        falling = np.argsort(-together, kind="stable")
        places = (numbers - numbers.min())[falling]
        ranked.append(Ranked(together[falling], exact[places], places))
    return ranked


def stopping(
    ranked: Sequence[Ranked], depth: int, efforts: Sequence[int], share_of_codes: Floats
) -> list[dict[str, float]]:
    """Return documents over their codes for every target of recall, the same for all queries and by query.

    `time_saved` is the share of a search's time that the difference takes, without the cost of computing the misses.
    """
    places = [np.flatnonzero(np.isin(one.numbers, list(one.best(depth)))) for one in ranked]
    counts = np.unique(np.geomspace(depth + 5, MOST, 200).astype(int))
    fixed = [float(np.mean([(place < count).mean() for place in places])) for count in counts]
    by_query = []
    for share in MISSED:
        scored = []
        for one in ranked:
            count = depth + depth // 4 + 6
            while count < MOST and one.missed(count, depth) > share * depth:
                count += max(STEP, count // 8)
            scored.append(count)
        recall = float(np.mean([(place < count).mean() for place, count in zip(places, scored, strict=True)]))
        by_query.append((recall, float(np.mean(scored))))
    by_query.sort()
    recalls, means = zip(*by_query, strict=True)
    rows = []
    for target in TARGETS:
        if not max(recalls[0], fixed[0]) <= target <= recalls[-1]:
            continue
        same = float(np.interp(target, np.maximum.accumulate(fixed), counts))
        mean = float(np.interp(target, recalls, means))
        share = float(np.interp(same, efforts, share_of_codes))
        rows.append({"recall": target, "fixed": same, "by_query": mean, "time_saved": (1 - mean / same) * share})
    return rows


def search_all(
    index: Index, queries: Sequence[NDArray[np.float32]], truth: Sequence[set[int]], depth: int
) -> tuple[Floats, Floats, Floats]:
    """Return recall and milliseconds (efforts, queries), and the share of the time in the code stage (efforts,)."""
    efforts = CANDIDATES[depth]
    recall = np.zeros((len(efforts), len(queries)))
    times = np.full((ROUNDS, len(efforts), len(queries)), np.inf)
    codes = np.zeros(len(efforts))
    for turn, i, effort in itertools.product(range(ROUNDS), range(len(queries)), range(len(efforts))):
        hits = index.search(queries[i], depth, candidates=efforts[effort])
        milliseconds = hits.stats.milliseconds
        spent = sum(milliseconds.get(stage, 0.0) for stage in ("centroids", "residuals", "codes", "vectors"))
        times[turn, effort, i] = spent
        codes[effort] += milliseconds.get("codes", 0.0) / spent / ROUNDS / len(queries)
        recall[effort, i] = len({int(hit.id) for hit in hits} & truth[i]) / depth
    return recall, times.min(axis=0), codes


def again(missed: Floats, recall: Floats, times: Floats) -> list[dict[str, float]]:
    """Return time and recall of a second search for hard queries, compared with one search for all.

    Both are set on half of the queries to the least time that reaches the target, and measured on the other half.

    Args:
        missed: expected misses, (efforts, queries).
        recall: of searches, (efforts, queries).
        times: of searches in milliseconds, (efforts, queries).
    """
    efforts, queries = recall.shape
    halves = [np.arange(half, queries, 2) for half in (0, 1)]
    pairs = list(itertools.combinations(range(efforts), 2))
    rows = []
    for target in TARGETS:
        row: dict[str, float] = {"recall": target}
        for name, continues in (("both_searches", False), ("second_continues", True)):
            outcomes = []
            for chosen_on, measured_on in (halves, halves[::-1]):
                one_search = [
                    (float(times[effort, chosen_on].mean()), effort)
                    for effort in range(efforts)
                    if recall[effort, chosen_on].mean() >= target
                ]
                # A share of 0 is one search.
                fitting = [(spent, effort, effort, math.inf) for spent, effort in one_search]
                for (first, second), share in itertools.product(pairs, AGAIN):
                    threshold = float(np.quantile(missed[first, chosen_on], 1 - share))
                    found, spent = _of_two(missed, recall, times, first, second, threshold, chosen_on, continues)
                    if found >= target:
                        fitting.append((spent, first, second, threshold))
                if not one_search:
                    continue
                _, effort = min(one_search)
                _, first, second, threshold = min(fitting)
                found, spent = _of_two(missed, recall, times, first, second, threshold, measured_on, continues)
                outcomes.append((spent / times[effort, measured_on].mean(), found - recall[effort, measured_on].mean()))
            if outcomes:
                row[name], row[f"{name}_recall"] = (float(value) for value in np.mean(outcomes, axis=0))
        rows.append(row)
    return rows


def _of_two(
    missed: Floats,
    recall: Floats,
    times: Floats,
    first: int,
    second: int,
    threshold: float,
    queries: NDArray[np.int64],
    continues: bool,
) -> tuple[float, float]:
    """Return recall and milliseconds where queries with more expected misses than a threshold are searched again."""
    hard = missed[first, queries] > threshold
    found = np.where(hard, recall[second, queries], recall[first, queries])
    before = 0.0 if continues else times[first, queries]
    spent = np.where(hard, times[second, queries] + before, times[first, queries])
    return float(found.mean()), float(spent.mean())


def of_collection(folder: Path, count: int) -> dict[str, Any]:
    """Return the measurements of one collection."""
    collection = load_vectors(folder)
    queries = [np.ascontiguousarray(query) for query in collection.queries[:count]]
    with (
        tempfile.TemporaryDirectory() as temporary,
        Index.create(Path(temporary) / "index", dim=collection.vectors.shape[1]) as index,
    ):
        index.add(
            ids=[str(i) for i in range(collection.documents)],
            vectors=[collection.document(i) for i in range(collection.documents)],
        )
        index.compact()
        ranked = rank_all(index, collection, queries)
        maxsim.set_num_threads(1)
        depths = []
        for depth, efforts in CANDIDATES.items():
            recall, times, codes = search_all(index, queries, [query.best(depth) for query in ranked], depth)
            missed = np.array([[query.missed(effort, depth) for query in ranked] for effort in efforts])
            depths.append(
                {
                    "k": depth,
                    "correlation": float(np.corrcoef(missed[0], 1 - recall[0])[0, 1]),
                    "fixed": [
                        {
                            "candidates": effort,
                            "recall": float(recall[i].mean()),
                            "ms": float(times[i].mean()),
                            "share_of_codes": float(codes[i]),
                        }
                        for i, effort in enumerate(efforts)
                    ],
                    "stop": stopping(ranked, depth, efforts, codes),
                    "again": again(missed, recall, times),
                }
            )
    return {
        "vectors": folder.parent.name,
        "collection": folder.name,
        "documents": collection.documents,
        "queries": len(queries),
        "depths": depths,
    }


def main() -> int:
    """Measure every collection, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": describe_machine(["serotine", "numpy"]), "collections": []}
    for folder in arguments.folders:
        measured = of_collection(folder, arguments.queries)
        print(json.dumps(measured, indent=1), flush=True)
        result["collections"].append(measured)
        if arguments.out:
            arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
