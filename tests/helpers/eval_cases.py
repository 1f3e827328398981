"""Small collections on disk, and a system with a fixed run."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

from serotine.evaluation import Collection, Run
from serotine.evaluation.systems.base import Answer


class FixedSystem:
    """A system that returns a fixed run, cut to the depth; `calls` records collection, queries and depth."""

    def __init__(self, run: Run, name: str = "fixed") -> None:
        self.name = name
        self.key = "fixed"
        self.calls: list[tuple[str, list[str], int]] = []
        self._run = run

    def answer(self, collection: Collection, depth: int, *, show_progress: bool = False) -> Answer:
        self.calls.append((collection.name, list(collection.queries), depth))
        run = {
            query: dict(list(self._run[query].items())[:depth]) for query in collection.queries if query in self._run
        }
        return Answer(run, {"exact": True})


def write_beir(
    folder: Path,
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, Mapping[str, int]]],
) -> Path:
    """Write a BEIR folder, with `qrels` by split; only the queries are compressed."""
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": id_, "title": "", "text": text}) + "\n" for id_, text in documents.items()]
    (folder / "corpus.jsonl").write_text("".join(lines), encoding="utf-8")
    lines = [json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in queries.items()]
    (folder / "queries.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))
    for split, judgements in qrels.items():
        rows = [
            f"{query}\t{document}\t{grade}\n"
            for query, grades in judgements.items()
            for document, grade in grades.items()
        ]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return folder


def write_miracl(
    root: Path,
    language: str,
    documents: Mapping[str, tuple[str, str]],
    topics: Mapping[str, str],
    qrels: str,
    split: str = "dev",
) -> Path:
    """Write a language of MIRACL in the hub's layout; documents are (title, text) by id, two per file."""
    folder = root / f"miracl-v1.0-{language}"
    corpus = root / f"miracl-corpus-v1.0-{language}"
    for path in (folder / "topics", folder / "qrels", corpus):
        path.mkdir(parents=True, exist_ok=True)
    rows = [
        json.dumps({"docid": id_, "title": title, "text": text}, ensure_ascii=False) + "\n"
        for id_, (title, text) in documents.items()
    ]
    for number in range(0, len(rows), 2):
        compressed = gzip.compress("".join(rows[number : number + 2]).encode())
        (corpus / f"docs-{number // 2}.jsonl.gz").write_bytes(compressed)
    lines = "".join(f"{id_}\t{text}\n" for id_, text in topics.items())
    (folder / "topics" / f"topics.miracl-v1.0-{language}-{split}.tsv").write_text(lines, encoding="utf-8")
    (folder / "qrels" / f"qrels.miracl-v1.0-{language}-{split}.tsv").write_text(qrels, encoding="utf-8")
    return folder
