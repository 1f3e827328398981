"""Subclasses of sentence-transformers' classes: evaluators for training, and the trainer's notes.

Importing this module imports sentence-transformers 6, which takes seconds.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from sentence_transformers import SentenceTransformerModelCardData
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.evaluation import NanoBEIREvaluator as _NanoBEIREvaluator

from serotine.integrations.pylate.scores import colbert_scores_pairwise

if TYPE_CHECKING:
    from serotine.integrations.pylate.models import ColBERT

__all__ = [
    "ColBERTDistillationEvaluator",
    "ColBERTTripletEvaluator",
    "ModelCardData",
    "NanoBEIREvaluator",
    "PyLateInformationRetrievalEvaluator",
]


class PyLateInformationRetrievalEvaluator(InformationRetrievalEvaluator):
    """Sentence-transformers' retrieval evaluator for `models.ColBERT`."""

    def embed_inputs(self, model: Any, sentences: Any, encode_fn_name: str | None = None, **kwargs: Any) -> Any:
        """Return token vectors, one tensor a text; as queries where `encode_fn_name` is "query"."""
        prompts = {key: kwargs[key] for key in ("prompt_name", "prompt") if kwargs.get(key) is not None}
        return model.encode(
            list(sentences),
            is_query=encode_fn_name == "query",
            convert_to_tensor=True,
            show_progress_bar=self.show_progress_bar,
            **prompts,
        )


class NanoBEIREvaluator(_NanoBEIREvaluator):
    """Sentence-transformers' NanoBEIR evaluator for `models.ColBERT`; it downloads the collections from the hub."""

    information_retrieval_class = PyLateInformationRetrievalEvaluator


class _ScalarEvaluator(BaseEvaluator):
    """An evaluator with one metric, which it appends to a CSV file."""

    def __init__(
        self, metric: str, file: str, name: str, write_csv: bool, show_progress_bar: bool, truncate_dim: int | None
    ) -> None:
        super().__init__()
        if truncate_dim is not None:
            raise ValueError(f"truncate_dim: must be None, got {truncate_dim!r}; pass it to models.ColBERT")
        self.metric, self.name = metric, name
        self.primary_metric = metric
        self.write_csv, self.show_progress_bar = write_csv, show_progress_bar
        self.csv_file = f"{file}{'_' + name if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps", metric]

    def __call__(
        self, model: ColBERT, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """Return the metric by its name, and append it to `csv_file` under `output_path` where that is given."""
        value = self.compute(model)
        if output_path is not None and self.write_csv:
            file = Path(output_path) / self.csv_file
            new = not file.is_file()
            with file.open("a", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([*([self.csv_headers] if new else []), [epoch, steps, value]])
        metrics: dict[str, float] = self.prefix_name_to_metrics({self.metric: value}, self.name)
        self.store_metrics_in_model_card_data(cast(Any, model), metrics, epoch, steps)
        return metrics

    def compute(self, model: ColBERT) -> float:
        """Compute the metric."""
        raise NotImplementedError

    def _encode(self, model: ColBERT, texts: Sequence[str], *, is_query: bool) -> Any:
        return model.encode(
            list(texts), is_query=is_query, convert_to_tensor=True, show_progress_bar=self.show_progress_bar
        )


class ColBERTTripletEvaluator(_ScalarEvaluator):
    """Share of anchors that score their positive above their negative.

    Args:
        anchors: queries.
        positives, negatives: one document each per query.
        name: appended to the name of the file and prepended to the metric's.
        batch_size: without effect; batches are sized by tokens.
        show_progress_bar: draw a bar on standard error.
        write_csv: append the result to the CSV file.
        truncate_dim: must be None.
    """

    def __init__(
        self,
        anchors: Sequence[str],
        positives: Sequence[str],
        negatives: Sequence[str],
        name: str = "",
        batch_size: int = 32,
        show_progress_bar: bool = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__("accuracy", "triplet_evaluation", name, write_csv, show_progress_bar, truncate_dim)
        if not len(anchors) == len(positives) == len(negatives):
            counts = f"{len(anchors):,}, {len(positives):,} and {len(negatives):,}"
            raise ValueError(f"anchors, positives, negatives: must be of equal length, got {counts}")
        self.anchors, self.positives, self.negatives = anchors, positives, negatives

    def compute(self, model: ColBERT) -> float:
        """Compute the share, 0 to 1."""
        anchors = self._encode(model, self.anchors, is_query=True)
        positive_scores, negative_scores = (
            colbert_scores_pairwise(anchors, self._encode(model, texts, is_query=False))
            for texts in (self.positives, self.negatives)
        )
        return float((positive_scores > negative_scores).float().mean())


class ColBERTDistillationEvaluator(_ScalarEvaluator):
    """KL divergence of the model's scores of each query's documents from a teacher's scores.

    Args:
        queries: queries.
        documents: each query's documents, the same number for every query.
        scores: the teacher's scores of these.
        name, batch_size, show_progress_bar, write_csv, truncate_dim: as in `ColBERTTripletEvaluator`.
        normalize_scores: scale each query's scores by the model to 0..1 first.
    """

    def __init__(
        self,
        queries: Sequence[str],
        documents: Sequence[Sequence[str]],
        scores: Sequence[Sequence[float]],
        name: str = "",
        batch_size: int = 16,
        show_progress_bar: bool = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
        normalize_scores: bool = True,
    ) -> None:
        super().__init__("kl_divergence", "distillation_evaluation", name, write_csv, show_progress_bar, truncate_dim)
        if not len(queries) == len(documents) == len(scores):
            counts = f"{len(queries):,}, {len(documents):,} and {len(scores):,}"
            raise ValueError(f"queries, documents, scores: must be of equal length, got {counts}")
        self.queries, self.documents, self.scores = queries, documents, scores
        self.normalize_scores = normalize_scores

    def compute(self, model: ColBERT) -> float:
        """Compute the mean over the queries."""
        queries = self._encode(model, self.queries, is_query=True)
        documents = self._encode(model, list(itertools.chain.from_iterable(self.documents)), is_query=False)
        ways = len(self.documents[0])
        repeated = [query for query in queries for _ in range(ways)]
        scores = colbert_scores_pairwise(repeated, documents).unflatten(0, (len(queries), ways))
        if self.normalize_scores:
            low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
            scores = (scores - low) / (high - low + 1e-8)
        teacher = torch.tensor(self.scores, device=scores.device).log_softmax(dim=-1)
        return float(
            torch.nn.functional.kl_div(scores.log_softmax(dim=-1), teacher, reduction="batchmean", log_target=True)
        )


class ModelCardData(SentenceTransformerModelCardData):
    """The trainer's notes without statistics of the datasets, for which it would tokenize them with another model."""

    library_name = "PyLate"

    def extract_dataset_metadata(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Return nothing."""
        return []

    def set_widget_examples(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""
