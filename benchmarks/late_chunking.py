"""Compare late chunking (Günther et al. 2024, arXiv:2409.04701) with ordinary passages, on judged collections.

    python benchmarks/late_chunking.py ENCODER:LENGTHS:COLLECTION... [--cache FOLDER]

For example mini:64,128:scifact, where scifact is a BEIR folder. Every document is cut into passages of at most so many
tokens, far fewer than the encoder reads, so that context can matter; a document scores as its best passage, by exact
MaxSim. Of the same encoder:

- chunks: passages as `serotine index` cuts and encodes them, each alone, sharing an eighth with the one before it;
- titles: the same, but the title is before every passage, of collections with titles;
- late: `Encoder.encode_passages`, without overlap.

The differences of nDCG@10 to chunks, and of late to titles, are tested by randomization, with Holm's correction over
all comparisons. At most 1,000 queries of a collection. Needs the extra [eval]. Writes
benchmarks/results/late_chunking.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from significance import add_corrected_p

from serotine import Encoder, maxsim
from serotine.bench import describe_machine
from serotine.cutting import Cutter, default_overlap
from serotine.evaluation import Collection, Run, evaluate_queries, load_beir, randomization_test, read_records

RESULT = Path(__file__).parent / "results/late_chunking.json"
QUERIES, METRIC, DEPTH = 1_000, "nDCG@10", 10
# The ten best documents are among as many passages, even where all of one document's are better than the next one's.
PASSAGES = 500

# The token vectors of every passage of every document, in order.
Passages = Iterator[list[NDArray[np.float32]]]


def titles_and_texts(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the title of every document, "" for none, and its text."""
    file = next(folder / name for name in ("corpus.jsonl", "corpus.jsonl.gz") if (folder / name).exists())
    records = {str(record["_id"]): record for _, record in read_records(file)}
    titles = {id_: (record.get("title") or "").strip() for id_, record in records.items()}
    return titles, {id_: (record.get("text") or "").strip() for id_, record in records.items()}


def pieces(cutter: Cutter, text: str, length: int, overlap: int) -> list[tuple[int, int]]:
    """Return the (start, end) of a text's passages; all of it where there is nothing to cut."""
    return cutter.cut(text, length, overlap) or [(0, len(text))]


def chunks(encoder: Encoder, length: int, documents: Sequence[str], titles: Sequence[str]) -> Passages:
    """Yield the passages of every document, each encoded alone, after its title where that is not ""."""
    cutter = Cutter(encoder)
    for text, title in zip(documents, titles, strict=True):
        spans = pieces(cutter, text, length, default_overlap(length))
        yield encoder.encode_documents([f"{title} {text[start:end]}".strip() for start, end in spans])


def late(encoder: Encoder, length: int, documents: Sequence[str]) -> Passages:
    """Yield the passages of every document, encoded with the text around them."""
    cutter = Cutter(encoder)
    for text in documents:
        spans = pieces(cutter, text, length, 0)
        yield encoder.encode_passages(text, spans) if text else [np.empty((0, encoder.dim), np.float32)]


def packed(passages: Passages, file: Path | None) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.int64]]:
    """Return token vectors end to end, the offsets of passages, and the document of each; of a file that exists."""
    if file is not None and file.exists():
        arrays = np.load(file)
        return arrays["vectors"], arrays["offsets"], arrays["owners"]
    vectors, lengths, owners = [], [0], []
    for number, document in enumerate(passages):
        for rows in document:
            vectors.append(rows.astype(np.float16))
            lengths.append(len(rows))
            owners.append(number)
    result = np.concatenate(vectors), np.cumsum(lengths), np.array(owners)
    if file is not None:
        np.savez(file, vectors=result[0], offsets=result[1], owners=result[2])
    return result


def ranked(scores: NDArray[np.float32], owners: NDArray[np.int64], ids: Sequence[str]) -> dict[str, float]:
    """Return the best documents with the scores of their best passages; `owners` are those of passages, best first."""
    best: dict[str, float] = {}
    for score, owner in zip(scores.tolist(), owners.tolist(), strict=True):
        best.setdefault(ids[owner], score)
    return dict(islice(best.items(), DEPTH))


def measure(name: str, encoder: Encoder, lengths: Sequence[int], folder: Path, cache: Path | None) -> dict[str, Any]:
    """Return the figures of one encoder on one collection."""
    collection = limited(load_beir(folder))
    titles, texts = titles_and_texts(folder)
    ids, documents = list(collection.documents), list(collection.documents.values())
    untitled, named = [texts[id_] for id_ in ids], [titles[id_] for id_ in ids]
    queries = encoder.encode_queries(list(collection.queries.values()))
    tokens = [len(spans) for spans in encoder.token_spans(documents)]
    rows = []
    for length in lengths:
        systems: dict[str, Callable[[], Passages]] = {
            "chunks": partial(chunks, encoder, length, documents, [""] * len(ids)),
            "titles": partial(chunks, encoder, length, untitled, named),
            "late": partial(late, encoder, length, documents),
        }
        if not any(named):
            del systems["titles"]
        values, seconds = {}, {}
        for system, encode in systems.items():
            key = hashlib.sha256(f"{encoder.fingerprint} {folder.name} {system} {length} {documents}".encode())
            file = None if cache is None else cache / f"{key.hexdigest()[:20]}.npz"
            started = time.perf_counter()
            vectors, offsets, owners = packed(encode(), file)
            seconds[system] = time.perf_counter() - started
            run: Run = {}
            for id_, query in zip(collection.queries, queries, strict=True):
                scores, numbers = maxsim.top_k(query, vectors, offsets, PASSAGES)
                run[id_] = ranked(scores, owners[numbers], ids)
            values[system] = per_query(collection, run)
            row = {"length": length, "system": system, "passages": len(owners), "tokens": len(vectors)}
            row[METRIC] = float(values[system].mean())
            if system != "chunks":
                row |= compared(values[system], values["chunks"])
            if system == "late" and "titles" in values:
                row["to_titles"] = compared(values["late"], values["titles"])
            rows.append(row)
            print(name, folder.name, row, f"{seconds[system]:.0f} s", file=sys.stderr, flush=True)
    return {
        "encoder": encoder.name,
        "collection": folder.name,
        "documents": len(ids),
        "queries": len(queries),
        "tokens_of_a_document": float(np.mean(tokens)),
        "rows": rows,
    }


def compared(values: NDArray[np.float64], others: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean difference of a metric of the same queries, and its p-value."""
    differences = values - others
    return {"difference": float(differences.mean()), "p": randomization_test(differences)[0]}


def limited(collection: Collection) -> Collection:
    """Return a collection with only its first judged queries."""
    queries = dict(islice(collection.queries.items(), QUERIES))
    qrels = {id_: collection.qrels[id_] for id_ in queries}
    return Collection(collection.name, collection.documents, queries, qrels, collection.split, collection.language)


def per_query(collection: Collection, run: Run) -> NDArray[np.float64]:
    """Return the metric of every query."""
    figures = evaluate_queries(collection.qrels, run)
    return np.array([figures[id_][METRIC] for id_ in collection.queries])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", nargs="+", metavar="ENCODER:LENGTHS:COLLECTION")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="store token vectors, and read those stored")
    parser.add_argument("--threads", type=int, help="of the encoder")
    arguments = parser.parse_args()
    encoders: dict[str, Encoder] = {}
    collections = []
    for measured in arguments.measured:
        name, lengths, folder = measured.split(":", 2)
        if name not in encoders:
            encoders[name] = Encoder(name, num_threads=arguments.threads)
        numbers = list(map(int, lengths.split(",")))
        collections.append(measure(name, encoders[name], numbers, Path(folder), arguments.cache))
    rows = list(chain(*(collection["rows"] for collection in collections)))
    add_corrected_p([row for row in rows if "p" in row] + [row["to_titles"] for row in rows if "to_titles" in row])
    machine = describe_machine(["serotine", "ir-measures", "numpy"])
    RESULT.write_text(json.dumps({"machine": machine, "collections": collections}, indent=1) + "\n")


if __name__ == "__main__":
    main()
