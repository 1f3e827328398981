"""MIRACL folders: topics and judgements of one language as TSV files, its corpus as `docs-*.jsonl.gz`.

As the hub lays them out, `miracl-v1.0-sw/{topics,qrels}/` beside `miracl-corpus-v1.0-sw/docs-0.jsonl.gz`, or all in one
folder.
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
        topics, qrels: questions and judgements.
        corpus: the documents' files.
        split: which judgements.
    """

    language: str
    topics: Path
    qrels: Path
    corpus: tuple[Path, ...]
    split: str

    @property
    def name(self) -> str:
        """What the collection is called."""
        return f"miracl-{self.language}"

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.corpus, self.topics, self.qrels)

    def load(self) -> Collection:
        """Read them.

        Raises:
            InputFileError: a line is malformed; names the file and the line.
        """
        documents = records.documents(chain.from_iterable(map(records.read_records, self.corpus)), "docid")
        qrels = _qrels(self.qrels)
        queries = records.judged_queries(qrels, _topics(self.topics), self.qrels, self.topics)
        return Collection(self.name, documents, queries, qrels, self.split, self.language, benchmark="miracl")


def languages(folder: Path) -> list[str]:
    """The languages whose topics a folder holds; none where it is no MIRACL folder."""
    return sorted({match["language"] for _, match in _all_topics(folder)})


def find_miracl(
    folder: str | Path, language: str | None = None, split: str | None = None, *, corpus: Path | None = None
) -> MiraclFiles:
    """Find a language's files in a folder.

    Args:
        folder: of one language, or of several as the hub lays them out.
        language: which; the only one there is unless given.
        split: which judgements; "dev" unless given, or the only ones there are.
        corpus: where the documents are; in `folder`, or beside it, unless given.

    Raises:
        InputFileError: a file is missing, or there are several languages to choose from.
    """
    root = Path(folder)
    there = languages(root)
    if language is None and len(there) != 1:
        raise InputFileError(f"{root}: holds {len(there)} languages of MIRACL ({', '.join(there)}); want one")
    chosen = language or there[0]
    found = {match["split"]: path for path, match in _all_topics(root) if match["language"] == chosen}
    wanted = split or default_split("", "miracl")
    if split is None and wanted not in found and len(found) == 1:
        (wanted,) = found
    if wanted not in found:
        others = f"; it has {', '.join(sorted(found))}: choose one with --split" if found else ""
        raise InputFileError(f"{root}: holds no topics.miracl-v1.0-{chosen}-{wanted}.tsv{others}")
    topics = found[wanted]
    name = topics.name.replace("topics.", "qrels.", 1)
    qrels = [path for place in (topics.parent, topics.parent.parent / "qrels") if (path := place / name).is_file()]
    if not qrels:
        raise InputFileError(f"{topics.parent.parent / 'qrels'}: holds no {name}, the judgements of {topics.name}")
    return MiraclFiles(chosen, topics, qrels[0], _corpus(corpus or root, chosen, alone=len(there) == 1), wanted)


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


def _corpus(root: Path, language: str, *, alone: bool) -> tuple[Path, ...]:
    """The corpus in a folder, or else beside it."""
    inside = {path for level in _LEVELS for path in root.glob(f"{level}docs-*.jsonl*")}
    for paths in (inside, set(root.parent.glob(f"miracl-corpus-*-{language}/docs-*.jsonl*"))):
        chosen = []
        for path in paths:
            told = _CORPUS.fullmatch(path.parent.name)
            if path.name.endswith((".jsonl", ".jsonl.gz")) and (told["language"] == language if told else alone):
                chosen.append(path)
        if chosen:
            # docs-10 after docs-9.
            return tuple(sorted(chosen, key=lambda path: (len(path.name), path)))
    raise InputFileError(f"{root}: holds no docs-*.jsonl.gz of {language!r}; MIRACL's corpus belongs beside topics")


def _topics(path: Path) -> dict[str, str]:
    topics: dict[str, str] = {}
    for place, line in records.numbered_lines(path):
        id_, tab, question = line.partition("\t")
        if not tab or not id_:
            raise InputFileError(f"{place}: must be a query id and a query, separated by a tab, got {line!r}")
        if id_ in topics:
            raise InputFileError(f"{place}: duplicate query {id_!r}")
        topics[id_] = question.strip()
    return topics


def _qrels(path: Path) -> Qrels:
    qrels: Qrels = {}
    for place, line in records.numbered_lines(path):
        parts = line.split()
        if len(parts) != 4:
            raise InputFileError(f"{place}: must be `query Q0 document relevance`, got {line!r}")
        records.add_judgement(qrels, parts[0], parts[2], parts[3], place)
    return qrels
