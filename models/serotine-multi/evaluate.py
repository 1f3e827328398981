"""Measure a model for the tables of serotine-multi's card, with exact MaxSim.

    python models/serotine-multi/evaluate.py MODEL WORK_FOLDER [--baseline NAME ...] [--json FILE]

MODEL is a folder or a name such as "multilingual"; WORK_FOLDER holds languages/ and english/, which prepare.py wrote
from texts held back from training, and collections/, the BEIR folders of the recipe. Three tables, in Markdown:

    languages    nDCG@10 and recall@10 within each language; recall@10 of its queries for English passages and of
                 English queries for its passages, as shares of the first
    English      nDCG@10 on the English sources held back, columns as in the next table
    test sets    nDCG@10 of BM25, of each baseline, of the model, of its first 64 and 96 dimensions, and with document
                 vectors merged by 2 and by 3; p of the model against each baseline, by the paired randomization test
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine import Encoder, maxsim
from serotine.encoders import TokenPooling, cluster_means, cluster_tokens
from serotine.evaluation import BM25Baseline, Collection, evaluate_queries, load_beir, randomization_test

Vectors = list[NDArray[np.float32]]
TEST_SETS = ("cmrc-zh", "arcd-ar", "piaf-fr", "cranfield", "medline", "time", "adi", "cosqa-dev")
# As of `serotine eval`: among documents of equal scores a list of ten has those that the system happens to have first.
DEPTH = 100
METRICS = ("nDCG@10", "R@10")


def first_dimensions(dim: int) -> Callable[[Vectors], Vectors]:
    """Return a function that cuts vectors and scales them to length 1."""

    def cut(vectors: Vectors) -> Vectors:
        shortened = [rows[:, :dim] for rows in vectors]
        return [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9) for rows in shortened]

    return cut


def pooled(factor: int) -> Callable[[Vectors], Vectors]:
    """Return a function that merges the vectors of every document, about `factor` into one."""
    pooling = TokenPooling(factor)
    return lambda vectors: [cluster_means(rows, cluster_tokens(rows, pooling), normalize=True) for rows in vectors]


def by_query(collection: Collection, queries: Vectors, documents: Vectors) -> dict[str, list[float]]:
    """Return each query's metrics, in percent, of the best documents by exact MaxSim."""
    rows, offsets = np.concatenate(documents), np.cumsum([0, *map(len, documents)])
    names = list(collection.documents)
    run = {}
    for query, vectors in zip(collection.queries, queries, strict=True):
        scores, numbers = maxsim.top_k(vectors, rows, offsets, DEPTH)
        run[query] = {names[number]: float(score) for score, number in zip(scores, numbers, strict=True)}
    measured = evaluate_queries(collection.qrels, run, METRICS)
    return {metric: [100 * measured[query][metric] for query in sorted(measured)] for metric in METRICS}


def figures(collection: Collection, queries: Vectors, documents: Vectors) -> dict[str, float]:
    """Return the means of `by_query`."""
    return {metric: float(np.mean(values)) for metric, values in by_query(collection, queries, documents).items()}


def first_queries(collection: Collection, limit: int) -> Collection:
    """Return a collection with no more than `limit` of its queries."""
    queries = dict(list(collection.queries.items())[:limit])
    qrels = {query: collection.qrels[query] for query in queries}
    return Collection(collection.name, collection.documents, queries, qrels, collection.split, collection.language)


def collection_figures(collection: Collection, encoder: Encoder, baselines: list[Encoder]) -> dict[str, float]:
    """Return nDCG@10 of every column of the table of collections, and p against each baseline."""
    bm25 = evaluate_queries(collection.qrels, BM25Baseline().answer(collection, depth=DEPTH).run)
    columns = {"BM25": 100 * float(np.mean([values["nDCG@10"] for values in bm25.values()]))}
    texts, asked = list(collection.documents.values()), list(collection.queries.values())
    queries, documents = encoder.encode_queries(asked), encoder.encode_documents(texts)
    measured = by_query(collection, queries, documents)["nDCG@10"]
    chances = {}
    for baseline in baselines:
        vectors = baseline.encode_queries(asked), baseline.encode_documents(texts)
        values = by_query(collection, *vectors)["nDCG@10"]
        columns[baseline.name] = float(np.mean(values))
        chances[f"p against {baseline.name}"], _ = randomization_test(np.subtract(measured, values))
    columns["model"] = float(np.mean(measured))
    columns |= chances
    for dim in (64, 96):
        if dim < encoder.dim:
            cut = first_dimensions(dim)
            columns[f"{dim} dimensions"] = figures(collection, cut(queries), cut(documents))["nDCG@10"]
    for factor in (2, 3):
        columns[f"merged by {factor}"] = figures(collection, queries, pooled(factor)(documents))["nDCG@10"]
    return columns


def language_figures(folder: Path, encoder: Encoder) -> dict[str, dict[str, float]]:
    """Return the figures of every language of `languages/`."""
    codes = sorted(path.name.partition("-")[0] for path in folder.iterdir() if len(set(path.name.split("-"))) == 1)
    rows = {}
    for code in codes:
        within = load_beir(folder / f"{code}-{code}", "dev")
        queries, documents = (
            encoder.encode_queries(list(within.queries.values())),
            encoder.encode_documents(list(within.documents.values())),
        )
        measured = figures(within, queries, documents)
        rows[code] = {"nDCG@10": measured["nDCG@10"], "recall@10": measured["R@10"]}
        if code == "en":
            continue
        for label, name, side in (
            ("to English passages", f"{code}-en", "documents"),
            ("English queries", f"en-{code}", "queries"),
        ):
            crossed = load_beir(folder / name, "dev")
            if side == "documents":
                recall = figures(crossed, queries, encoder.encode_documents(list(crossed.documents.values())))["R@10"]
            else:
                recall = figures(crossed, encoder.encode_queries(list(crossed.queries.values())), documents)["R@10"]
            rows[code][label] = recall / max(rows[code]["recall@10"], 1e-9)
    return rows


def table(rows: dict[str, dict[str, float]], first: str) -> str:
    """Return rows of figures as a Markdown table with their mean; shares and p have more decimals, and p no mean."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    means = {
        column: float(np.mean([row[column] for row in rows.values() if column in row]))
        for column in columns
        if not column.startswith("p against")
    }
    lines = [f"| {first} | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    for name, row in [*rows.items(), ("mean", means)]:
        cells = [_cell(column, row[column]) if column in row else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(column: str, value: float) -> str:
    if column.startswith("p against"):
        return f"{value:.3f}"
    return f"{value:.2f}" if column in ("to English passages", "English queries") else f"{value:.1f}"


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or name of the encoder")
    parser.add_argument("work", type=Path, help="folder that prepare.py wrote")
    parser.add_argument(
        "--baseline", action="append", default=[], help="another encoder, for the test sets; repeatable"
    )
    parser.add_argument("--sets", default=",".join(TEST_SETS), help="names in collections/, separated by commas")
    parser.add_argument("--queries", type=int, default=2000, help="most queries of a test set, the first ones")
    parser.add_argument("--threads", type=int, help="processor threads of the encoders")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    encoder = Encoder(arguments.model, num_threads=arguments.threads)
    baselines = [Encoder(name, num_threads=arguments.threads) for name in arguments.baseline]
    languages = language_figures(arguments.work / "languages", encoder)
    print(table(languages, "language"), flush=True)
    held_back = [load_beir(folder, "dev") for folder in sorted((arguments.work / "english").iterdir())]
    names = list(filter(None, arguments.sets.split(",")))
    tested = [load_beir(arguments.work / "collections" / name, "test") for name in names]
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for title, collections in (("English held back", held_back), ("test set", tested)):
        rows = tables[title] = {}
        for collection in (first_queries(whole, arguments.queries) for whole in collections):
            rows[collection.name] = row = collection_figures(collection, encoder, baselines)
            print(collection.name, json.dumps({key: round(value, 3) for key, value in row.items()}), file=sys.stderr)
        if rows:
            print(f"\n{table(rows, title)}", flush=True)
    if arguments.json is not None:
        record = {"model": encoder.fingerprint, "queries": arguments.queries, "languages": languages}
        record |= {"english": tables["English held back"], "test_sets": tables["test set"]}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
