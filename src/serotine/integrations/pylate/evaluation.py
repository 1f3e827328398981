"""`evaluation`: loading collections, evaluating results, and evaluators for training (from sentence-transformers)."""

from __future__ import annotations

import importlib
import io
import random
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine import evaluation
from serotine.errors import not_one_of
from serotine.evaluation import Qrels, Run
from serotine.lazy_names import no_attribute

if TYPE_CHECKING:
    from serotine.integrations.pylate.sentence_transformers import (
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
# ranx's name of a metric, which PyLate takes: ir-measures' name, and whether to multiply its value by the depth.
_METRICS = {
    "ndcg": ("nDCG", False),
    "map": ("AP", False),
    "mrr": ("RR", False),
    "recall": ("R", False),
    "precision": ("P", False),
    "hits": ("P", True),
    "hit_rate": ("Success", False),
}
# Metrics that may be given without a depth.
_OPTIONAL_DEPTH = ("ndcg", "map", "mrr")

Loaded = tuple[list[dict[str, str]], dict[str, str], Qrels]


def load_beir(dataset_name: str, split: str = "test") -> Loaded:
    """Load a collection of BEIR by its name, after downloading it into "evaluation_datasets" the first time.

    Returns:
        Documents, each with "id" and "text" (title and text); queries by id; judgements by query and document.

    Raises:
        InputFileError: a file is missing or malformed.
        OSError: the download failed.
    """
    folder = Path(BEIR_FOLDER) / dataset_name
    if not folder.is_dir():
        with urllib.request.urlopen(f"{BEIR_URL}/{dataset_name}.zip") as response:  # noqa: S310
            zipfile.ZipFile(io.BytesIO(response.read())).extractall(BEIR_FOLDER)
    return load_custom_dataset(folder, split)


def load_custom_dataset(path: str | Path, split: str = "test") -> Loaded:
    """Load a folder in BEIR's layout; returns and raises as `load_beir`."""
    collection = evaluation.load_beir(path, split)
    documents = [{"id": id_, "text": text} for id_, text in collection.documents.items()]
    return documents, collection.queries, collection.qrels


def get_beir_triples(
    documents: Sequence[Mapping[str, str]], queries: Sequence[str], qrels: Mapping[str, Mapping[str, int]]
) -> list[tuple[str, str, str]]:
    """Return training triples: a query with each of its judged documents and a random document.

    Args:
        documents: as from `load_beir`.
        queries: texts, in the order of `qrels`.
        qrels: judgements.
    """
    texts = {document["id"]: document["text"] for document in documents}
    candidates = list(texts.values())
    return [
        (query, texts[id_], random.choice(candidates))  # noqa: S311
        for query, judged in zip(queries, qrels.values(), strict=True)
        for id_ in judged
    ]


def evaluate(
    scores: Sequence[Sequence[Mapping[str, Any]]],
    qrels: Mapping[str, Mapping[str, int | bool]],
    queries: Sequence[str],
    metrics: Sequence[str] | None = None,
) -> dict[str, float]:
    """Evaluate retrieved or reranked documents.

    Args:
        scores: the results of `retrieve` or `rerank`, one list per query.
        qrels: judgements by query and document.
        queries: the queries' keys in `qrels`, in the order of `scores`.
        metrics: "ndcg@10", "map", "mrr@10", "recall@100", "precision@5", "hits@3" (how many of the first 3 are
            relevant), "hit_rate@3" (whether any is); ndcg@10 and hits at 1, 2, 3, 4, 5 and 10 unless given.

    Returns:
        The mean of each metric over all judged queries, by its name.

    Raises:
        ValueError: a metric is unknown, or `scores` and `queries` differ in length.
        SerotineError: the eval extra is not installed.
    """
    names = list(dict.fromkeys(queries))
    if len(names) != len(scores):
        raise ValueError(f"scores: must be one list per query ({len(names):,}), got {len(scores):,}")
    metrics = metrics or ["ndcg@10", *(f"hits@{k}" for k in (1, 2, 3, 4, 5, 10))]
    parsed = {name: _parse_metric(name) for name in metrics}
    run: Run = {
        query: {str(hit["id"]): float(hit["score"]) for hit in hits} for query, hits in zip(names, scores, strict=True)
    }
    judgements = {
        query: {str(document): int(grade) for document, grade in judged.items()} for query, judged in qrels.items()
    }
    means = evaluation.evaluate(judgements, run, [metric for metric, _ in parsed.values()])
    return {name: means[metric] * factor for name, (metric, factor) in parsed.items()}


def _parse_metric(name: str) -> tuple[str, int]:
    """Return ir-measures' name of a metric, and the factor to ranx's value."""
    kind, _, depth = name.partition("@")
    if kind not in _METRICS or (depth and not depth.isdecimal()) or not (depth or kind in _OPTIONAL_DEPTH):
        raise not_one_of("metrics", [*(f"{metric}@k" for metric in _METRICS), *_OPTIONAL_DEPTH], name)
    metric, is_count = _METRICS[kind]
    return f"{metric}@{depth}" if depth else metric, int(depth) if is_count else 1


def __getattr__(name: str) -> Any:
    # The evaluators import sentence-transformers, which takes seconds.
    if name in __all__:
        return getattr(importlib.import_module("serotine.integrations.pylate.sentence_transformers"), name)
    raise no_attribute(__name__, name, __all__)
