"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, each plain or `.gz`.

The hub's layout, `corpus/*.parquet` and `queries/*.parquet`, is read too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from serotine.encoders import read_json
from serotine.errors import InputFileError
from serotine.evaluation.data import records
from serotine.evaluation.data.benchmarks import beir_name, default_split
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Qrels

__all__ = ["BeirFiles", "Collection", "load_beir"]

_META = "meta.json"
_HEADER = ["query-id", "corpus-id"]


@dataclass(frozen=True, slots=True)
class BeirFiles:
    """The files of one split of a BEIR collection.

    Attributes:
        name: the name of the collection.
        corpus: the files of the documents: one JSON lines file, or Parquet files.
        queries: the files of the queries, likewise.
        qrels: the file of the judgements.
        split: the split of the judgements.
        language: the language that `meta.json` names, or None.
        metadata: `meta.json`, if it exists.
    """

    name: str
    corpus: tuple[Path, ...]
    queries: tuple[Path, ...]
    qrels: Path
    split: str
    language: str | None = None
    metadata: tuple[Path, ...] = ()

    @classmethod
    def find(
        cls, folder: str | Path, split: str | None = None, *, name: str | None = None, qrels: Path | None = None
    ) -> BeirFiles:
        """Find the files of a collection in a folder.

        Args:
            folder: the folder of the collection.
            split: the split of the judgements; by default that of published figures, or the only one.
            name: the name of the collection; by default the folder's.
            qrels: the folder of the judgements; by default `qrels` in `folder`.

        Raises:
            InputFileError: a file is missing.
        """
        root = Path(folder)
        name = name or root.resolve().name
        corpus, queries = _find(root, "corpus"), _find(root, "queries")
        qrels_file, split = _find_qrels(qrels or root / "qrels", split, name)
        metadata = (root / _META,) if (root / _META).is_file() else ()
        return cls(name, corpus, queries, qrels_file, split, _language(root), metadata)

    @property
    def files(self) -> tuple[Path, ...]:
        """All of the files."""
        return (*self.corpus, *self.queries, self.qrels, *self.metadata)

    def load(self) -> Collection:
        """Load the collection.

        Raises:
            InputFileError: a line is malformed; names the file and the line.
        """
        documents = records.documents(_records(self.corpus), "_id")
        queries = records.queries(_records(self.queries), "_id")
        qrels = _qrels(self.qrels)
        queries = records.judged_queries(qrels, queries, self.qrels, self.queries[0])
        benchmark = "beir" if beir_name(self.name) else None
        language = self.language or ("en" if benchmark else None)
        return Collection(self.name, documents, queries, qrels, self.split, language, benchmark)


def load_beir(folder: str | Path, split: str | None = None) -> Collection:
    r"""Load a BEIR folder.

    Args:
        folder: path of the folder.
        split: the split of the judgements; by default "test" ("dev" for MS MARCO), or the only one.

    Raises:
        InputFileError: a file is missing, or a line is malformed; names the file and the line.

    >>> from pathlib import Path
    >>> from serotine.evaluation import load_beir
    >>> root = Path("toy")
    >>> (root / "qrels").mkdir(parents=True)
    >>> (root / "corpus.jsonl").write_text('{"_id": "d", "text": "owls hunt at night"}') > 0
    True
    >>> (root / "queries.jsonl").write_text('{"_id": "q", "text": "when do owls hunt?"}') > 0
    True
    >>> (root / "qrels/test.tsv").write_text("q\td\t1") > 0
    True
    >>> load_beir("toy").qrels
    {'q': {'d': 1}}
    """
    return BeirFiles.find(folder, split).load()


def beir_texts(folder: str | Path) -> Iterator[str]:
    """Yield every document and every query of a BEIR folder, judged or not: texts that training must exclude.

    Raises:
        InputFileError: a file is missing, or a line is malformed; names the file and the line.
    """
    root = Path(folder)
    yield from records.documents(_records(_find(root, "corpus")), "_id").values()
    yield from records.queries(_records(_find(root, "queries")), "_id").values()


def _find(folder: Path, stem: str) -> tuple[Path, ...]:
    for path in (folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz"):
        if path.is_file():
            return (path,)
    files = tuple(sorted((folder / stem).glob("*.parquet")))
    if not files:
        raise InputFileError(f"{folder}: contains neither {stem}.jsonl nor {stem}.jsonl.gz; a BEIR folder needs it")
    return files


def _find_qrels(folder: Path, split: str | None, name: str) -> tuple[Path, str]:
    """Return the file of the judgements and its split."""
    files = {
        path.name.removesuffix(".gz").removesuffix(".tsv"): path
        for path in sorted(folder.glob("*.tsv*"), reverse=True)
        if path.name.endswith((".tsv", ".tsv.gz"))
    }
    split_name = split or default_split(name, None)
    if split_name in files:
        return files[split_name], split_name
    if split is None and len(files) == 1:
        ((split_name, file),) = files.items()
        return file, split_name
    fix = f"it has {', '.join(sorted(files))}: choose one with --split" if files else "a BEIR folder needs it"
    raise InputFileError(f"{folder}: contains neither {split_name}.tsv nor {split_name}.tsv.gz; {fix}")


def _language(folder: Path) -> str | None:
    file = folder / _META
    if not file.is_file():
        return None
    values = read_json(file)
    language = values.get("language") if isinstance(values, dict) else None
    return language if isinstance(language, str) else None


def _records(files: tuple[Path, ...]) -> Iterator[records.Record]:
    return chain.from_iterable(records.read_records(file) for file in files)


def _qrels(path: Path) -> Qrels:
    qrels: Qrels = {}
    for number, (place, line) in enumerate(records.numbered_lines(path)):
        fields = line.split("\t")
        if number == 0 and fields[:2] == _HEADER:
            continue
        if len(fields) != 3 or not fields[0] or not fields[1]:
            raise InputFileError(f"{place}: must be query-id, corpus-id and score, separated by tabs, got {line!r}")
        query, document, score = fields
        records.add_judgement(qrels, records.validate_text(query, "the query id", place), document, score, place)
    return qrels
