"""Add one pooled vector's score to MaxSim, and measure what the sum gives over MaxSim alone.

    python benchmarks/pooled.py LATE:POOLED:COLLECTION... [--cache FOLDER]

For example mini:own:scifact mini:MINILM:scifact, where scifact is a BEIR folder. LATE is an encoder; POOLED is a dense
encoder (hub id or folder) with its own pooling and prompts, or "own", the mean of LATE's own token vectors, scaled to
length 1. The score of a document is late / (tokens of the query) + weight x cosine, over all documents, exactly. The
weight, 0 among its choices, is the best on development queries, which are never those that are tested: the training
queries of a collection that has some, and else the test queries of all other collections of the same two encoders. The
differences of nDCG@10 to MaxSim alone are tested by randomization, with Holm's correction over all comparisons. "stage"
is MaxSim of the 100 documents with the best pooled vectors. At most 1,000 queries of a split; texts are normalized to
NFC. Needs the extra [eval]. Writes benchmarks/results/pooled.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from significance import add_corrected_p

from serotine import Encoder, maxsim
from serotine.bench import describe_machine
from serotine.evaluation import (
    LateInteraction,
    Qrels,
    VectorCache,
    evaluate_queries,
    load_beir,
    randomization_test,
)

RESULT = Path(__file__).parent / "results/pooled.json"
QUERIES, METRIC, DEPTH, STAGE = 1_000, "nDCG@10", 10, 100
WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Split:
    """The scores of every document for the queries of one split.

    Attributes:
        qrels: the judgements of these queries, by id, in order.
        late: float32 (queries, documents), MaxSim divided by the tokens of the query.
        pooled: float32 (queries, documents), cosines.
    """

    qrels: Qrels
    late: NDArray[np.float32]
    pooled: NDArray[np.float32]

    def values(self, scores: NDArray[np.float32], ids: Sequence[str]) -> NDArray[np.float64]:
        """Return the metric of every query."""
        best = np.argpartition(-scores, min(DEPTH, scores.shape[1] - 1), axis=1)[:, :DEPTH]
        run = {
            query: {ids[number]: float(row[number]) for number in numbers if np.isfinite(row[number])}
            for query, row, numbers in zip(self.qrels, scores, best, strict=True)
        }
        figures = evaluate_queries(self.qrels, run)
        return np.array([figures[query][METRIC] for query in self.qrels])


@dataclass(frozen=True, slots=True)
class Scored:
    """One collection with two encoders: the ids of its documents, and its splits, of which "train" may be missing."""

    name: str
    ids: list[str]
    splits: Mapping[str, Split]

    def by_weight(self, split: str) -> NDArray[np.float64]:
        """Return the metric of every weight and query, (weights, queries)."""
        scores = self.splits[split]
        return np.stack([scores.values(scores.late + weight * scores.pooled, self.ids) for weight in WEIGHTS])


def unit_means(blocks: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Return the mean of the vectors of every text, scaled to length 1; zeros for a text without any."""
    means = np.stack([rows.astype(np.float32).sum(axis=0) for rows in blocks])
    scaled: NDArray[np.float32] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return scaled.astype(np.float32)


def scored(folder: Path, late: Encoder, pooled: Encoder | None, cache: Path | None) -> Scored:
    """Return the scores of a collection; `pooled` None: the means of the token vectors."""
    collection = load_beir(folder)
    ids = list(collection.documents)
    documents = [unicodedata.normalize("NFC", text) for text in collection.documents.values()]
    parts = [arrays for _, arrays in LateInteraction(late, cache).vector_cache().blocks(documents, lambda count: None)]
    if pooled is None:
        rows = [np.split(arrays["vectors"], arrays["offsets"][1:-1]) for arrays in parts]
        dense = np.concatenate([unit_means(block) for block in rows])
    else:

        def encode(texts: Sequence[str]) -> list[NDArray[np.float32]]:
            return list(pooled.encode_pooled(texts, query=False)[:, None])

        pooled_cache = VectorCache(cache, encode, f"pooled {pooled.fingerprint}")
        dense = np.concatenate([arrays["vectors"] for _, arrays in pooled_cache.blocks(documents, lambda count: None)])
    names = ["test", *(["train"] if (folder / "qrels/train.tsv").exists() else [])]
    splits = {}
    for name in names:
        loaded = load_beir(folder, name)
        texts = {id_: unicodedata.normalize("NFC", text) for id_, text in islice(loaded.queries.items(), QUERIES)}
        queries = late.encode_queries(list(texts.values()))
        vectors = unit_means(queries) if pooled is None else pooled.encode_pooled(list(texts.values()), query=True)
        scores = np.concatenate(
            [
                np.stack([maxsim.score(query, arrays["vectors"], arrays["offsets"]) / len(query) for query in queries])
                for arrays in parts
            ],
            axis=1,
        )
        splits[name] = Split({id_: loaded.qrels[id_] for id_ in texts}, scores, vectors @ dense.T)
    return Scored(folder.name, ids, splits)


def compared(collections: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return the figures of every collection of two encoders, with weights fitted elsewhere."""
    test = {collection.name: collection.by_weight("test") for collection in collections}
    rows = []
    for collection in collections:
        split, values = collection.splits["test"], test[collection.name]
        if "train" in collection.splits:
            fitted_on, means = "train", collection.by_weight("train").mean(axis=1)
        else:
            others = [name for name in test if name != collection.name]
            fitted_on, means = "other collections", np.mean([test[name].mean(axis=1) for name in others], axis=0)
        chosen = int(np.argmax(means))
        differences = values[chosen] - values[0]
        in_stage = np.argsort(-split.pooled, axis=1, kind="stable")[:, :STAGE]
        staged = np.full_like(split.late, -np.inf)
        np.put_along_axis(staged, in_stage, np.take_along_axis(split.late, in_stage, axis=1), axis=1)
        rows.append(
            {
                "collection": collection.name,
                "queries": len(split.qrels),
                "late": float(values[0].mean()),
                "pooled": float(split.values(split.pooled, collection.ids).mean()),
                "sum": float(values[chosen].mean()),
                "weight": WEIGHTS[chosen],
                "fitted_on": fitted_on,
                "best_weight_on_test": WEIGHTS[int(np.argmax(values.mean(axis=1)))],
                "difference": float(differences.mean()),
                "p": randomization_test(differences)[0],
                "stage": float(split.values(staged, collection.ids).mean()),
            }
        )
    return rows


def model_name(encoder: Encoder) -> str:
    """Return the last part of an encoder's name that says something: a package's folder of a model is "model"."""
    return next(part for part in reversed(Path(encoder.name).parts) if part != "model")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", nargs="+", metavar="LATE:POOLED:COLLECTION")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="store vectors, and read those stored")
    parser.add_argument("--threads", type=int, help="of the encoders")
    arguments = parser.parse_args()
    pairs: dict[tuple[str, str], list[Path]] = {}
    for measured in arguments.measured:
        late, pooled, folder = measured.split(":", 2)
        pairs.setdefault((late, pooled), []).append(Path(folder))
    results: list[dict[str, Any]] = []
    for (late, pooled), folders in pairs.items():
        encoder = Encoder(late, num_threads=arguments.threads)
        dense = None if pooled == "own" else Encoder(pooled, num_threads=arguments.threads)
        collections = []
        for folder in folders:
            collections.append(scored(folder, encoder, dense, arguments.cache))
            print(late, pooled, folder.name, file=sys.stderr, flush=True)
        rows = compared(collections)
        name = "the mean of its token vectors" if dense is None else model_name(dense)
        results.append({"late": encoder.name, "pooled": name, "rows": rows})
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    tested = [row for result in results for row in result["rows"]]
    add_corrected_p(tested)
    machine = describe_machine(["serotine", "ir-measures", "numpy"])
    RESULT.write_text(json.dumps({"machine": machine, "pairs": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
