"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, each plain or `.gz`.

Also as the hub keeps them: `corpus/*.parquet`, `queries/*.parquet`.
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
        name: what the collection is called.
        corpus, queries: one file each, or several of Parquet.
        qrels: the judgements.
        split: which.
        language: as `meta.json` tells it, if it does.
        told: that file, where it is there.
    """

    name: str
    corpus: tuple[Path, ...]
    queries: tuple[Path, ...]
    qrels: Path
    split: str
    language: str | None = None
    told: tuple[Path, ...] = ()

    @classmethod
    def find(
        cls, folder: str | Path, split: str | None = None, *, name: str | None = None, qrels: Path | None = None
    ) -> BeirFiles:
        """Find them in a folder.

        Args:
            folder: the collection's.
            split: which judgements; the one that published figures are of unless given, or the only one there is.
            name: what to call the collection; the folder's name unless given.
            qrels: the folder of the judgements; `qrels` in `folder` unless given.

        Raises:
            InputFileError: a file is missing.
        """
        root = Path(folder)
        called = name or root.resolve().name
        corpus, queries = _find(root, "corpus"), _find(root, "queries")
        file, chosen = _split(qrels or root / "qrels", split, called)
        told = (root / _META,) if (root / _META).is_file() else ()
        return cls(called, corpus, queries, file, chosen, _language(root), told)

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.corpus, *self.queries, self.qrels, *self.told)

    def load(self) -> Collection:
        """Read them.

        Raises:
            InputFileError: a line is malformed; names the file and the line.
        """
        documents = records.documents(_records(self.corpus), "_id")
        asked = records.queries(_records(self.queries), "_id")
        qrels = _qrels(self.qrels)
        queries = records.judged_queries(qrels, asked, self.qrels, self.queries[0])
        known = beir_name(self.name) is not None
        language = self.language or ("en" if known else None)
        return Collection(
            self.name, documents, queries, qrels, self.split, language, benchmark="beir" if known else None
        )


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
    """Every document and every question of a BEIR folder, judged or not: what must not be trained on.

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
    parts = tuple(sorted((folder / stem).glob("*.parquet")))
    if not parts:
        raise InputFileError(f"{folder}: holds neither {stem}.jsonl nor {stem}.jsonl.gz; a BEIR folder needs it")
    return parts


def _split(folder: Path, split: str | None, name: str) -> tuple[Path, str]:
    there = {
        path.name.removesuffix(".gz").removesuffix(".tsv"): path
        for path in sorted(folder.glob("*.tsv*"), reverse=True)
        if path.name.endswith((".tsv", ".tsv.gz"))
    }
    wanted = split or default_split(name, None)
    if wanted in there:
        return there[wanted], wanted
    if split is None and len(there) == 1:
        return next((path, only) for only, path in there.items())
    others = f"; it has {', '.join(sorted(there))}: choose one with --split" if there else "; a BEIR folder needs it"
    raise InputFileError(f"{folder}: holds neither {wanted}.tsv nor {wanted}.tsv.gz{others}")


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
        parts = line.split("\t")
        if number == 0 and parts[:2] == _HEADER:
            continue
        if len(parts) != 3 or not parts[0] or not parts[1]:
            raise InputFileError(f"{place}: want query-id, corpus-id and score between tabs, got {line!r}")
        records.add_judgement(qrels, records.validate_text(parts[0], "the query id", place), parts[1], parts[2], place)
    return qrels
