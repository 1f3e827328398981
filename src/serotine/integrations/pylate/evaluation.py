"""`evaluation`: collections read, candidates judged, and (from sentence-transformers) evaluators for training."""

from __future__ import annotations

import importlib
import io
import random
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.evaluation import beir
from serotine.evaluation.metrics import Qrels, Run
from serotine.evaluation.metrics import evaluate as judge

if TYPE_CHECKING:
    from serotine.integrations.pylate.evaluators import (
        ColBERTDistillationEvaluator,
        ColBERTTripletEvaluator,
        NanoBEIREvaluator,
        PyLateInformationRetrievalEvaluator,
    )

__all__ = [
    "ColBERTDistillationEvaluator",
    "ColBERTTripletEvaluator",
    "NanoBEIREvaluator",
    "PyLateInformationRetrievalEvaluator",
    "evaluate",
    "get_beir_triples",
    "load_beir",
    "load_custom_dataset",
]

BEIR_URL = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"
BEIR_FOLDER = "evaluation_datasets"
# By ranx's names, which PyLate takes: ir-measures' measure, and what it is to be multiplied by k for.
_MEASURES = {
    "ndcg": ("nDCG", False),
    "map": ("AP", False),
    "mrr": ("RR", False),
    "recall": ("R", False),
    "precision": ("P", False),
    "hits": ("P", True),
    "hit_rate": ("Success", False),
}
_EVERY_DEPTH = ("ndcg", "map", "mrr")

Loaded = tuple[list[dict[str, str]], dict[str, str], Qrels]


def load_beir(dataset_name: str, split: str = "test") -> Loaded:
    """A collection of BEIR, by its name; downloaded into "evaluation_datasets" where it is not there yet.

    Returns:
        Documents, each with "id" and "text" (title and text); queries by id; judgements by query and document.

    Raises:
        InputFileError: a file is missing or malformed.
        OSError: it cannot be downloaded.
    """
    folder = Path(BEIR_FOLDER) / dataset_name
    if not folder.is_dir():
        with urllib.request.urlopen(f"{BEIR_URL}/{dataset_name}.zip") as answer:  # noqa: S310
            zipfile.ZipFile(io.BytesIO(answer.read())).extractall(BEIR_FOLDER)
    return load_custom_dataset(folder, split)


def load_custom_dataset(path: str | Path, split: str = "test") -> Loaded:
    """A folder in BEIR's layout; returns and raises as `load_beir`."""
    found = beir.load_beir(path, split)
    documents = [{"id": id_, "text": text} for id_, text in found.documents.items()]
    return documents, found.queries, found.qrels


def get_beir_triples(
    documents: Sequence[Mapping[str, str]], queries: Sequence[str], qrels: Mapping[str, Mapping[str, int]]
) -> list[tuple[str, str, str]]:
    """Each query's text with each of its judged documents and a random document, as training triples.

    Args:
        documents: as `load_beir` gives them.
        queries: texts, in the order of `qrels`.
        qrels: judgements.
    """
    texts = {document["id"]: document["text"] for document in documents}
    listed = list(texts.values())
    return [
        (query, texts[id_], random.choice(listed))  # noqa: S311
        for query, judged in zip(queries, qrels.values(), strict=True)
        for id_ in judged
    ]


def evaluate(
    scores: Sequence[Sequence[Mapping[str, Any]]],
    qrels: Mapping[str, Mapping[str, int | bool]],
    queries: Sequence[str],
    metrics: Sequence[str] | None = None,
) -> dict[str, float]:
    """Judges what was retrieved.

    Args:
        scores: what `retrieve` or `rerank` gave of every query.
        qrels: judgements by query and document.
        queries: the queries' keys in `qrels`, in the order of `scores`.
        metrics: "ndcg@10", "map", "mrr@10", "recall@100", "precision@5", "hits@3" (how many of the first 3 are
            relevant), "hit_rate@3" (whether any is); ndcg@10 and hits at 1, 2, 3, 4, 5 and 10 unless given.

    Returns:
        The mean of each measure over all judged queries, by its name.

    Raises:
        ValueError: a measure is unknown, or `scores` and `queries` are not of the same length.
        SerotineError: the eval extra is not installed.
    """
    names = list(dict.fromkeys(queries))
    if len(names) != len(scores):
        raise ValueError(f"scores: of {len(scores):,} queries; queries names {len(names):,}")
    metrics = metrics or ["ndcg@10", *(f"hits@{k}" for k in (1, 2, 3, 4, 5, 10))]
    parsed = {name: _measure(name) for name in metrics}
    run: Run = {
        query: {str(match["id"]): float(match["score"]) for match in found}
        for query, found in zip(names, scores, strict=True)
    }
    judgements = {
        query: {str(document): int(grade) for document, grade in judged.items()} for query, judged in qrels.items()
    }
    found = judge(judgements, run, [measure for measure, _ in parsed.values()])
    return {name: found[measure] * factor for name, (measure, factor) in parsed.items()}


def _measure(name: str) -> tuple[str, int]:
    """ir-measures' name of a measure, and the factor between the two."""
    kind, _, depth = name.partition("@")
    if kind not in _MEASURES or (depth and not depth.isdecimal()) or not (depth or kind in _EVERY_DEPTH):
        wanted = ", ".join(f"{known}@k" for known in _MEASURES)
        raise ValueError(f"metrics: want of {wanted}, {', '.join(_EVERY_DEPTH)}; got {name!r}")
    measure, counted = _MEASURES[kind]
    return f"{measure}@{depth}" if depth else measure, int(depth) if counted else 1


def __getattr__(name: str) -> Any:
    # Sentence-transformers, which they are built on, takes seconds to import.
    if name in __all__:
        return getattr(importlib.import_module("serotine.integrations.pylate.evaluators"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
