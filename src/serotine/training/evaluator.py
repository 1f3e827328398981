"""nDCG@10 of a model on a judged collection during training, by exact MaxSim."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers.base.evaluation import BaseEvaluator

from serotine import maxsim
from serotine.evaluation import Collection, Run, evaluate, load_beir
from serotine.training.recipe import Evaluation

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

METRIC = "ndcg_at_10"
"""The metric's key in logs and in sentence-transformers' interface."""
_NDCG = "nDCG@10"
_DEPTH = 100
_BATCH_SIZE = 32


class NdcgEvaluator(BaseEvaluator):
    """Evaluate a model on a BEIR folder, as sentence-transformers' trainer calls it.

    Args:
        settings: the folder, its split and how many documents.
        seed: of the sample of unjudged documents.

    Raises:
        InputFileError: the folder is not a valid BEIR folder.
    """

    def __init__(self, settings: Evaluation, seed: int) -> None:
        super().__init__()
        self.name = ""
        self.primary_metric = METRIC
        self._collection = _sample(load_beir(settings.folder, settings.split), settings.max_unjudged, seed)

    def __call__(
        self,
        model: MultiVectorEncoder,
        output_path: str | None = None,
        epoch: int = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        """Return `{"ndcg_at_10": x}`, x between 0 and 1."""
        run = search(model, self._collection)
        return {METRIC: evaluate(self._collection.qrels, run, (_NDCG,))[_NDCG]}


def search(model: MultiVectorEncoder, collection: Collection) -> Run:
    """Return the best 100 documents of every query by exact MaxSim of float32 vectors."""
    options: dict[str, Any] = {"batch_size": _BATCH_SIZE, "convert_to_numpy": True, "show_progress_bar": False}
    queries = model.encode_query(list(collection.queries.values()), **options)
    documents: list[NDArray[np.float32]] = model.encode_document(list(collection.documents.values()), **options)
    ids = list(collection.documents)
    offsets = np.concatenate([[0], np.cumsum([len(vectors) for vectors in documents])])
    packed = np.concatenate(documents).astype(np.float32)
    run: Run = {}
    for query_id, query in zip(collection.queries, queries, strict=True):
        scores, positions = maxsim.top_k(query.astype(np.float32), packed, offsets, min(_DEPTH, len(ids)))
        run[query_id] = {
            ids[position]: score for position, score in zip(positions.tolist(), scores.tolist(), strict=True)
        }
    return run


def _sample(collection: Collection, max_unjudged: int | None, seed: int) -> Collection:
    if max_unjudged is None:
        return collection
    judged = {document for judgements in collection.qrels.values() for document in judgements}
    unjudged = [document for document in collection.documents if document not in judged]
    sample = random.Random(seed).sample(unjudged, min(max_unjudged, len(unjudged)))  # noqa: S311
    ids = judged.union(sample)
    return replace(collection, documents={id_: text for id_, text in collection.documents.items() if id_ in ids})
