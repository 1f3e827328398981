"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, each plain or `.gz`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.evaluation.metrics import Qrels
from serotine.ingest.lines import read_lines
from serotine.nesting import check_nesting
from serotine.texts import is_text


@dataclass(frozen=True, slots=True)
class Collection:
    """A judged collection.

    Attributes:
        name: the folder's name.
        documents: text by document id: title and text joined by a space.
        queries: question by query id; only those the split judges.
        qrels: relevance by query id and document id.
    """

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: Qrels


def load_beir(folder: str | Path, split: str = "test") -> Collection:
    """Reads a BEIR folder.

    Raises:
        InputFileError: a file is missing, or a line is malformed; names the file and the line.
    """
    root = Path(folder)
    documents: dict[str, str] = {}
    corpus = _find(root, "corpus.jsonl")
    for number, record in _records(corpus):
        id_ = _field(record, "_id", corpus, number)
        if id_ in documents:
            raise InputFileError(f"{corpus}:{number}: document {id_!r} stands twice")
        documents[id_] = _document(record, corpus, number)
    questions_file = _find(root, "queries.jsonl")
    questions: dict[str, str] = {}
    for number, record in _records(questions_file):
        id_ = _field(record, "_id", questions_file, number)
        if id_ in questions:
            raise InputFileError(f"{questions_file}:{number}: query {id_!r} stands twice")
        questions[id_] = _field(record, "text", questions_file, number)
    qrels_file = _find(root / "qrels", f"{split}.tsv")
    qrels = _qrels(qrels_file)
    missing = [id_ for id_ in qrels if id_ not in questions]
    if missing:
        raise InputFileError(f"{qrels_file}: judges query {missing[0]!r}, which {questions_file.name} does not hold")
    return Collection(root.name, documents, {id_: questions[id_] for id_ in qrels}, qrels)


def all_texts(folder: str | Path) -> Iterator[str]:
    """Every document, as `load_beir` reads it, and every question, judged or not: what must not be trained on.

    Raises:
        InputFileError: as `load_beir`.
    """
    root = Path(folder)
    corpus = _find(root, "corpus.jsonl")
    for number, record in _records(corpus):
        yield _document(record, corpus, number)
    questions = _find(root, "queries.jsonl")
    for number, record in _records(questions):
        yield _field(record, "text", questions, number)


def _document(record: dict[str, Any], path: Path, number: int) -> str:
    # Some collections leave the title out, others write null.
    title = _field(record, "title", path, number) if record.get("title") is not None else ""
    return f"{title} {_field(record, 'text', path, number)}".strip()


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputFileError(f"{folder}: holds neither {name} nor {name}.gz; a BEIR folder needs it")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, without their ends."""
    return ((number, line.rstrip("\r\n")) for number, line in read_lines(path) if line.strip())


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        try:
            check_nesting(line)
            record = json.loads(line)
        except ValueError as error:
            raise InputFileError(f"{path}:{number}: is not valid JSON ({error})") from None
        if not isinstance(record, dict):
            raise InputFileError(f"{path}:{number}: want a JSON object, got {type(record).__name__}")
        yield number, record


def _field(record: dict[str, Any], key: str, path: Path, number: int) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise InputFileError(f"{path}:{number}: {key!r} must be a string, got {value!r}")
    if not is_text(value):
        raise InputFileError(f"{path}:{number}: {key!r} holds a lone surrogate, which is no text")
    return value


def _qrels(path: Path) -> Qrels:
    qrels: Qrels = {}
    for number, line in _lines(path):
        parts = line.split("\t")
        if number == 1 and parts[:2] == ["query-id", "corpus-id"]:
            continue
        if len(parts) != 3:
            raise InputFileError(f"{path}:{number}: want query-id, corpus-id and score between tabs, got {line!r}")
        query, document, score = parts
        try:
            grade = int(score)
        except ValueError:
            raise InputFileError(f"{path}:{number}: the score must be a whole number, got {score!r}") from None
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise InputFileError(f"{path}:{number}: query {query!r} and document {document!r} were judged differently")
    if not qrels:
        raise InputFileError(f"{path}: holds no judgements")
    return qrels
