"""Test collections: documents, the queries of one split, and its judgements."""

from __future__ import annotations

from dataclasses import dataclass

from serotine.evaluation.metrics import Qrels


@dataclass(frozen=True, slots=True)
class Collection:
    """A test collection: documents, queries and qrels.

    Attributes:
        name: the name of the collection, by default its folder.
        documents: text by document id: title and text, joined by a space.
        queries: text by query id; only queries with judgements in the split.
        qrels: relevance by query id and document id.
        split: the split of the judgements.
        language: ISO 639-1 code, where the files state it.
        benchmark: "beir" or "miracl" for a collection of that benchmark, whose rules then apply.

    >>> from serotine.evaluation import Collection
    >>> Collection("toy", {"d": "owls"}, {"q": "owl?"}, {"q": {"d": 1, "lost": 1}}).missing_relevant
    1
    """

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: Qrels
    split: str = "test"
    language: str | None = None
    benchmark: str | None = None

    @property
    def missing_relevant(self) -> int:
        """The number of documents judged relevant that are not in the collection."""
        return sum(
            grade > 0 and document not in self.documents
            for grades in self.qrels.values()
            for document, grade in grades.items()
        )


def join_title(title: str, text: str) -> str:
    """Return the text of a document as BEIR defines it: title, a space, text, stripped."""
    return f"{title} {text}".strip()
