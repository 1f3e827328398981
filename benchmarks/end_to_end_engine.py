"""One engine from a folder of texts to its answers: a program of its own, which `benchmarks/end_to_end.py` runs.

    PYTHON benchmarks/end_to_end_engine.py ENGINE CHECKPOINT TEXTS QUERIES --work FOLDER --out FILE

Needs nothing but the engine's packages, so that every engine has its own environment. CHECKPOINT is a
sentence-transformers folder of BERT's architecture, TEXTS a folder with one file per document, QUERIES a JSON list of
texts. The clock starts when the process does: imports and loading count, as for a person who waits. Then all queries
are searched one at a time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import time
from abc import ABC, abstractmethod
from pathlib import Path

DEPTH = 100
Ranking = list[str]


def process_age() -> float:
    """Return the seconds since this process started."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return float(Path("/proc/uptime").read_text().split()[0]) - started / os.sysconf("SC_CLK_TCK")


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

    packages: tuple[str, ...] = ("serotine", "numpy", "tokenizers")

    def build(self, checkpoint: Path, texts: Path, work: Path) -> None:  # noqa: D102
        self._build(checkpoint, texts, work)

    def _build(self, encoder: str | Path, texts: Path, work: Path) -> None:
        from serotine import Encoder, Index
        from serotine.ingest import Chunking, update

        self._index = Index.create(work / "serotine", encoder=Encoder(encoder, backend="native"))
        update(self._index, [texts], chunking=Chunking(None))

    def search(self, query: str) -> Ranking:  # noqa: D102
        return [Path(str(hit.metadata["source"])).name for hit in self._index.search(query, DEPTH)]


class SerotineDefault(Serotine):
    """Serotine with its own encoder instead of the checkpoint."""

    packages = (*Serotine.packages, "serotine-mini")

    def build(self, checkpoint: Path, texts: Path, work: Path) -> None:  # noqa: D102
        self._build("mini", texts, work)


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


ENGINES: dict[str, type[Engine]] = {
    "serotine": Serotine,
    "serotine-default": SerotineDefault,
    "faiss": Faiss,
    "plaid": Plaid,
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    queries = json.loads(arguments.queries.read_text("utf-8"))
    arguments.work.mkdir(parents=True)

    engine = ENGINES[arguments.engine]()
    engine.build(arguments.checkpoint, arguments.texts, arguments.work)
    indexed = process_age()
    engine.search(queries[0])
    answered = process_age()
    rankings: list[Ranking] = []
    milliseconds: list[float] = []
    for text in queries:
        started = time.perf_counter()
        rankings.append(engine.search(text))
        milliseconds.append((time.perf_counter() - started) * 1e3)
    result = {
        "versions": {name: importlib.metadata.version(name) for name in engine.packages},
        "seconds_to_index": indexed,
        "seconds_to_first_answer": answered,
        "query_ms": milliseconds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "index_bytes": sum(file.stat().st_size for file in arguments.work.rglob("*") if file.is_file()),
        "rankings": rankings,
    }
    arguments.out.write_text(json.dumps(result), "utf-8")


if __name__ == "__main__":
    main()
