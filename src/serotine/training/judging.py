"""nDCG@10 of the model in training on a judged collection, by exact MaxSim."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers.base.evaluation import BaseEvaluator

from serotine import maxsim
from serotine.evaluation import Collection, Run, evaluate, load_beir
from serotine.training.recipe import Judge

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

MEASURE = "nDCG@10"
METRIC = "ndcg_at_10"
_DEPTH = 100
_BATCH = 32


class JudgedCollection(BaseEvaluator):
    """Judges a model on a BEIR folder; sentence-transformers calls it while training.

    Args:
        judge: which, and how much of it.
        seed: decides which unjudged documents are left out.

    Raises:
        InputFileError: the folder is not what it should be.
    """

    def __init__(self, judge: Judge, seed: int) -> None:
        super().__init__()
        self.name = ""
        self.primary_metric = METRIC
        self._collection = _part(load_beir(judge.folder, judge.split), judge.documents, seed)

    def __call__(
        self,
        model: MultiVectorEncoder,
        output_path: str | None = None,
        epoch: int = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        """`{"ndcg_at_10": x}`, x between 0 and 1."""
        run = search(model, self._collection)
        return {METRIC: evaluate(self._collection.qrels, run, (MEASURE,))[MEASURE]}


def search(model: MultiVectorEncoder, collection: Collection) -> Run:
    """The best documents of every query, by exact MaxSim over float32 vectors."""
    options: dict[str, Any] = {"batch_size": _BATCH, "convert_to_numpy": True, "show_progress_bar": False}
    queries = model.encode_query(list(collection.queries.values()), **options)
    documents: list[NDArray[np.float32]] = model.encode_document(list(collection.documents.values()), **options)
    ids = list(collection.documents)
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in documents])])
    packed = np.concatenate(documents).astype(np.float32)
    run: Run = {}
    for id_, query in zip(collection.queries, queries, strict=True):
        scores, places = maxsim.top_k(query.astype(np.float32), packed, offsets, min(_DEPTH, len(ids)))
        run[id_] = {ids[place]: score for place, score in zip(places.tolist(), scores.tolist(), strict=True)}
    return run


def _part(collection: Collection, others: int | None, seed: int) -> Collection:
    if others is None:
        return collection
    judged = {document for found in collection.qrels.values() for document in found}
    rest = [id_ for id_ in collection.documents if id_ not in judged]
    kept = judged | set(random.Random(seed).sample(rest, min(others, len(rest))))  # noqa: S311
    return replace(collection, documents={id_: text for id_, text in collection.documents.items() if id_ in kept})
