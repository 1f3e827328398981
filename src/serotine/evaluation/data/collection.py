"""A judged collection: documents, the questions one split judges, and its judgements."""

from __future__ import annotations

from dataclasses import dataclass

from serotine.evaluation.metrics import Qrels


@dataclass(frozen=True, slots=True)
class Collection:
    """A judged collection.

    Attributes:
        name: the folder's name.
        documents: text by document id: title and text join_title by a space.
        queries: question by query id; only those the split judges.
        qrels: relevance by query id and document id.
        split: which judgements.
        language: ISO 639-1 code of its language, where its files tell it.
        benchmark: "beir" or "miracl" for a collection of one of these, whose rules then hold.
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
        """How many relevant documents the judgements name that are not in the collection."""
        return sum(
            grade > 0 and document not in self.documents
            for judged in self.qrels.values()
            for document, grade in judged.items()
        )


def join_title(title: str, text: str) -> str:
    """A document's text as BEIR has it: title, a space, text; spaces around it taken off."""
    return f"{title} {text}".strip()
