"""MIRACL folders: topics and judgements of one language as TSV files, its corpus as `docs-*.jsonl.gz`.

The files are either laid out as on the hub, `miracl-v1.0-sw/{topics,qrels}/` beside
`miracl-corpus-v1.0-sw/docs-0.jsonl.gz`, or all in one folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from serotine.errors import InputFileError
from serotine.evaluation.data import records
from serotine.evaluation.data.benchmarks import default_split
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Qrels

_TOPICS = re.compile(r"topics\.miracl-v[\d.]+-(?P<language>[a-z]{2,3})-(?P<split>[\w-]+)\.tsv(\.gz)?")
_CORPUS = re.compile(r"miracl-corpus-v[\d.]+-(?P<language>[a-z]{2,3})")
_LEVELS = ("", "*/", "*/*/")


@dataclass(frozen=True, slots=True)
class MiraclFiles:
    """The files of one split of one language.

    Attributes:
        language: ISO 639-1 code.
        topics: the file of the queries.
        qrels: the file of the judgements.
        corpus: the files of the documents.
        split: the split of the judgements.
    """

    language: str
    topics: Path
    qrels: Path
    corpus: tuple[Path, ...]
    split: str

    @property
    def name(self) -> str:
        """The name of the collection."""
        return f"miracl-{self.language}"

    @property
    def files(self) -> tuple[Path, ...]:
        """All of the files."""
        return (*self.corpus, self.topics, self.qrels)

    def load(self) -> Collection:
        """Load the collection.

        Raises:
            InputFileError: a line is malformed; names the file and the line.
        """
        documents = records.documents(chain.from_iterable(map(records.read_records, self.corpus)), "docid")
        qrels = _qrels(self.qrels)
        queries = records.judged_queries(qrels, _topics(self.topics), self.qrels, self.topics)
        return Collection(self.name, documents, queries, qrels, self.split, self.language, benchmark="miracl")


def languages(folder: Path) -> list[str]:
    """Return the languages whose topics a folder contains; none if it is not a MIRACL folder."""
    return sorted({match["language"] for _, match in _all_topics(folder)})


def find_miracl(
    folder: str | Path, language: str | None = None, split: str | None = None, *, corpus: Path | None = None
) -> MiraclFiles:
    """Find the files of a language in a folder.

    Args:
        folder: the folder of one language, or of several as laid out on the hub.
        language: ISO 639-1 code; by default the only language in the folder.
        split: the split of the judgements; by default "dev", or the only one.
        corpus: the folder of the documents; by default `folder`, or a folder beside it.

    Raises:
        InputFileError: a file is missing, or the folder has several languages to choose from.
    """
    root = Path(folder)
    available = languages(root)
    if language is None:
        if len(available) != 1:
            raise InputFileError(
                f"{root}: must contain one language of MIRACL, got {len(available)} ({', '.join(available)})"
            )
        language = available[0]
    topics_by_split = {match["split"]: path for path, match in _all_topics(root) if match["language"] == language}
    split_name = split or default_split("", "miracl")
    if split is None and split_name not in topics_by_split and len(topics_by_split) == 1:
        (split_name,) = topics_by_split
    if split_name not in topics_by_split:
        splits = ", ".join(sorted(topics_by_split))
        fix = f"; it has {splits}: choose one with --split" if splits else ""
        raise InputFileError(f"{root}: contains no topics.miracl-v1.0-{language}-{split_name}.tsv{fix}")
    topics = topics_by_split[split_name]
    name = topics.name.replace("topics.", "qrels.", 1)
    qrels = [path for parent in (topics.parent, topics.parent.parent / "qrels") if (path := parent / name).is_file()]
    if not qrels:
        raise InputFileError(f"{topics.parent.parent / 'qrels'}: contains no {name}, the judgements of {topics.name}")
    documents = _corpus(corpus or root, language, only_language=len(available) == 1)
    return MiraclFiles(language, topics, qrels[0], documents, split_name)


def load_miracl(folder: str | Path, language: str | None = None, split: str | None = None) -> Collection:
    r"""Load one language of a MIRACL folder; arguments and errors as in `find_miracl`.

    >>> from pathlib import Path
    >>> from serotine.evaluation import load_miracl
    >>> root = Path("miracl")
    >>> root.mkdir()
    >>> files = {
    ...     "topics.miracl-v1.0-sw-dev.tsv": "q\tbundi?",
    ...     "qrels.miracl-v1.0-sw-dev.tsv": "q Q0 d 1",
    ...     "docs-0.jsonl": '{"docid": "d", "title": "Bundi", "text": "ndege"}',
    ... }
    >>> for name, text in files.items():
    ...     _ = (root / name).write_text(text)
    >>> load_miracl("miracl").documents
    {'d': 'Bundi ndege'}
    """
    return find_miracl(folder, language, split).load()


def _all_topics(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    paths = sorted({path for level in _LEVELS for path in folder.glob(f"{level}topics.miracl-*.tsv*")})
    return [(path, match) for path in paths if (match := _TOPICS.fullmatch(path.name))]


def _corpus(root: Path, language: str, *, only_language: bool) -> tuple[Path, ...]:
    """Return the files of the corpus in a folder, or else beside it."""
    inside = {path for level in _LEVELS for path in root.glob(f"{level}docs-*.jsonl*")}
    for paths in (inside, set(root.parent.glob(f"miracl-corpus-*-{language}/docs-*.jsonl*"))):
        files = []
        for path in paths:
            match = _CORPUS.fullmatch(path.parent.name)
            of_language = match["language"] == language if match else only_language
            if of_language and path.name.endswith((".jsonl", ".jsonl.gz")):
                files.append(path)
        if files:
            # docs-10 after docs-9.
            return tuple(sorted(files, key=lambda path: (len(path.name), path)))
    raise InputFileError(f"{root}: contains no docs-*.jsonl.gz of {language!r}; put MIRACL's corpus beside the topics")


def _topics(path: Path) -> dict[str, str]:
    topics: dict[str, str] = {}
    for place, line in records.numbered_lines(path):
        id_, tab, query = line.partition("\t")
        if not tab or not id_:
            raise InputFileError(f"{place}: must be a query id and a query, separated by a tab, got {line!r}")
        if id_ in topics:
            raise InputFileError(f"{place}: duplicate query {id_!r}")
        topics[id_] = query.strip()
    return topics


def _qrels(path: Path) -> Qrels:
    qrels: Qrels = {}
    for place, line in records.numbered_lines(path):
        fields = line.split()
        if len(fields) != 4:
            raise InputFileError(f"{place}: must be `query Q0 document relevance`, got {line!r}")
        query, _, document, score = fields
        records.add_judgement(qrels, query, document, score, place)
    return qrels
