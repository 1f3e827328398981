"""Measure whether searches keep the recall they promise, with real queries that no calibration has seen.

    python benchmarks/recall.py FOLDER... [--encoder ENCODER --texts COLLECTIONS] [--queries N] [--out FILE]

Each FOLDER is KIND/COLLECTION with the token vectors of a collection, as `recall_vectors.py` writes them: vectors.npy,
offsets.npy and queries.npz. Folders that FILE has are not measured again. Every index is measured without a
calibration, with one from runs of its own tokens, and with one from half of the real queries, which the other half
then searches, both ways round. Recalls of 0.9 to 0.999 are asked for, and compared with exact searches.

With --encoder, whose vectors these are, and --texts, an index that also has texts and encoder is measured with a
calibration from sentences. The texts are COLLECTIONS/COLLECTION/corpus.jsonl.gz or COLLECTIONS/COLLECTION.jsonl.gz.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import Index, maxsim
from serotine.bench import VectorCollection, describe_machine, load_vectors
from serotine.ingest import SkippedRow, SourceFile
from serotine.issued_warnings import muted_warnings

PROMISED = (0.9, 0.95, 0.99, 0.999)
DEPTHS = (1, 10, 100)

Queries = Sequence[NDArray[np.float32]]
# The ids of the exact hits of each query, by depth.
Truth = dict[int, list[set[str]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """Searches for one depth and promise.

    Attributes:
        shares: of the exact hits, that each query found.
        seconds: processor time of all.
        candidates: the effort; None for exact searches.
        expected: recall that the engine expects; None without a calibration.
        lower_bound: of that expectation.
    """

    shares: list[float]
    seconds: float
    candidates: int | None
    expected: float | None
    lower_bound: float | None


def search_all(index: Index, queries: Queries, exact: Truth) -> dict[tuple[int, float], Measured]:
    """Search for every depth and promise."""
    measured = {}
    threads = maxsim.num_threads()
    # So that all the processor time is this thread's.
    maxsim.set_num_threads(1)
    for depth, promised in itertools.product(DEPTHS, PROMISED):
        started = time.thread_time()
        results = [index.search(query, depth, recall=promised) for query in queries]
        seconds = time.thread_time() - started
        shares = [
            len({hit.id for hit in hits} & truth) / len(truth)
            for hits, truth in zip(results, exact[depth], strict=True)
        ]
        stats = results[0].stats
        measured[depth, promised] = Measured(
            shares, seconds, stats.candidates, stats.expected_recall, stats.recall_lower_bound
        )
    maxsim.set_num_threads(threads)
    return measured


def rows(*parts: dict[tuple[int, float], Measured]) -> list[dict[str, Any]]:
    """Return promised and measured recall, the effort, and what the engine expects; means where there are two parts."""
    described = []
    for depth, promised in parts[0]:
        of_parts = [part[depth, promised] for part in parts]
        shares = np.array([share for part in of_parts for share in part.shares])
        candidates, expected, lower_bounds = (
            [getattr(part, name) for part in of_parts] for name in ("candidates", "expected", "lower_bound")
        )
        described.append(
            {
                "k": depth,
                "promised": promised,
                "measured": float(shares.mean()),
                "standard_error": float(shares.std(ddof=1) / len(shares) ** 0.5),
                "candidates": None if None in candidates else round(float(np.mean(candidates))),
                "expected": None if None in expected else float(np.mean(expected)),
                "lower_bound": None if None in lower_bounds else float(np.mean(lower_bounds)),
                "processor_ms": sum(part.seconds for part in of_parts) / len(shares) * 1e3,
            }
        )
    return described


@contextmanager
def built(collection: VectorCollection, texts: list[str] | None = None, encoder: str | None = None) -> Iterator[Index]:
    """Build an index in a temporary folder."""
    dim = collection.vectors.shape[1] if encoder is None else None
    with (
        tempfile.TemporaryDirectory() as temporary,
        Index.create(Path(temporary) / "index", dim=dim, encoder=encoder) as index,
        muted_warnings(),
    ):
        documents = [collection.document(i) for i in range(collection.documents)]
        index.add(ids=[str(i) for i in range(len(documents))], texts=texts, vectors=documents)
        yield index


def texts_of(collections: Path, name: str, count: int) -> list[str]:
    """Return the first texts of a collection; rows without text are skipped, as `recall_vectors.py` does."""
    in_folder = collections / name / "corpus.jsonl.gz"
    skipped: list[SkippedRow] = []
    source = SourceFile.at(in_folder if in_folder.exists() else collections / f"{name}.jsonl.gz")
    return [document.text for document in itertools.islice(source.documents(on_bad_row=skipped.append), count)]


def of_collection(folder: Path, count: int, encoder: str | None, collections: Path | None) -> dict[str, Any]:
    """Return the measurements of one collection."""
    collection = load_vectors(folder)
    queries = collection.queries[:count]
    calibrated: dict[str, Any] = {}
    with built(collection) as index:
        exact = {
            depth: [{hit.id for hit in index.search(query, depth, exact=True)} for query in queries] for depth in DEPTHS
        }
        calibrated["none"] = rows(search_all(index, queries, exact))
        print(folder, index.tune().statement, flush=True)
        calibrated["tokens"] = rows(search_all(index, queries, exact))
        parts = []
        for half in (0, 1):
            print(folder, index.tune(queries[half::2]).statement, flush=True)
            held_out = {depth: truths[1 - half :: 2] for depth, truths in exact.items()}
            parts.append(search_all(index, queries[1 - half :: 2], held_out))
        calibrated["given"] = rows(*parts)
        stats = index.stats()
    if encoder is not None and collections is not None:
        texts = texts_of(collections, folder.name, collection.documents)
        with built(collection, texts, encoder) as index:
            print(folder, index.tune().statement, flush=True)
            calibrated["sentences"] = rows(search_all(index, queries, exact))
    return {
        "vectors": folder.parent.name,
        "collection": folder.name,
        "documents": stats.documents,
        "tokens": stats.tokens,
        "dim": stats.dim,
        "queries": len(queries),
        "calibrated": calibrated,
    }


def main() -> int:
    """Measure every collection; print a table, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--encoder")
    parser.add_argument("--texts", type=Path, metavar="COLLECTIONS")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if (arguments.encoder is None) != (arguments.texts is None):
        parser.error("--encoder and --texts go together")
    results = json.loads(arguments.out.read_text())["collections"] if arguments.out and arguments.out.is_file() else []
    measured = {(result["vectors"], result["collection"]) for result in results}
    for folder in arguments.folders:
        if (folder.parent.name, folder.name) in measured:
            continue
        result = of_collection(folder, arguments.queries, arguments.encoder, arguments.texts)
        results.append(result)
        for origin, searched in result["calibrated"].items():
            for row in searched:
                print(
                    f"{folder.parent.name:14} {folder.name:12} {origin:9} k={row['k']:<3} "
                    f"promised {row['promised']:.3f} "
                    f"measured {row['measured']:.4f} ± {row['standard_error']:.4f}, {row['candidates']} candidates, "
                    f"{row['processor_ms']:.1f} ms",
                    flush=True,
                )
        if arguments.out:
            arguments.out.write_text(
                json.dumps({"machine": describe_machine(["serotine", "numpy"]), "collections": results}, indent=1)
                + "\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
