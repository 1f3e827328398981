"""Evaluators for training, on those of sentence-transformers 6, which this imports."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.evaluation import NanoBEIREvaluator as _NanoBEIREvaluator

from serotine.integrations.pylate.models import ColBERT
from serotine.integrations.pylate.scores import colbert_scores_pairwise

__all__ = [
    "ColBERTDistillationEvaluator",
    "ColBERTTripletEvaluator",
    "NanoBEIREvaluator",
    "PyLateInformationRetrievalEvaluator",
]


class PyLateInformationRetrievalEvaluator(InformationRetrievalEvaluator):
    """Sentence-transformers' evaluator of retrieval, with queries and documents encoded each as what they are."""

    def embed_inputs(self, model: Any, sentences: Any, encode_fn_name: str | None = None, **kwargs: Any) -> Any:
        """Token vectors, one tensor a text."""
        kept = {key: kwargs[key] for key in ("prompt_name", "prompt") if kwargs.get(key) is not None}
        return model.encode(
            list(sentences),
            is_query=encode_fn_name == "query",
            convert_to_tensor=True,
            show_progress_bar=self.show_progress_bar,
            **kept,
        )


class NanoBEIREvaluator(_NanoBEIREvaluator):
    """Sentence-transformers' evaluator over NanoBEIR, which it takes from the hub, for `models.ColBERT`."""

    information_retrieval_class = PyLateInformationRetrievalEvaluator


class _OneNumber(BaseEvaluator):
    """An evaluator whose result is one number, written as a row of a CSV file."""

    def __init__(
        self, metric: str, file: str, name: str, write_csv: bool, show_progress_bar: bool, truncate_dim: int | None
    ) -> None:
        super().__init__()
        if truncate_dim is not None:
            raise ValueError("truncate_dim: give it to models.ColBERT")
        self.metric, self.name = metric, name
        self.primary_metric = metric
        self.write_csv, self.show_progress_bar = write_csv, show_progress_bar
        self.csv_file = f"{file}{'_' + name if name else ''}_results.csv"
        self.csv_headers = ["epoch", "steps", metric]

    def __call__(
        self, model: ColBERT, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The number by its name; also in `csv_file` under `output_path`, where one is given."""
        value = self.measure(model)
        if output_path is not None and self.write_csv:
            file = Path(output_path) / self.csv_file
            new = not file.is_file()
            with file.open("a", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([*([self.csv_headers] if new else []), [epoch, steps, value]])
        metrics: dict[str, float] = self.prefix_name_to_metrics({self.metric: value}, self.name)
        self.store_metrics_in_model_card_data(cast(Any, model), metrics, epoch, steps)
        return metrics

    def measure(self, model: ColBERT) -> float:
        """The number."""
        raise NotImplementedError

    def _encode(self, model: ColBERT, texts: Sequence[str], *, is_query: bool) -> Any:
        return model.encode(
            list(texts), is_query=is_query, convert_to_tensor=True, show_progress_bar=self.show_progress_bar
        )


class ColBERTTripletEvaluator(_OneNumber):
    """How often an anchor scores its positive above its negative.

    Args:
        anchors: queries.
        positives, negatives: documents, one of each a query.
        name: added to the file's name and the metric's.
        batch_size: without effect: batches are made by tokens.
        show_progress_bar: draw a bar on standard error.
        write_csv: whether to write the file.
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
            raise ValueError("anchors, positives, negatives: want as many of each")
        self.anchors, self.positives, self.negatives = anchors, positives, negatives

    def measure(self, model: ColBERT) -> float:
        """The share, 0 to 1."""
        anchors = self._encode(model, self.anchors, is_query=True)
        good, bad = (
            colbert_scores_pairwise(anchors, self._encode(model, texts, is_query=False))
            for texts in (self.positives, self.negatives)
        )
        return float((good > bad).float().mean())


class ColBERTDistillationEvaluator(_OneNumber):
    """KL divergence of the model's scores of each query's documents from a teacher's.

    Args:
        queries: queries.
        documents: each query's documents, as many of each.
        scores: the teacher's, likewise.
        name, batch_size, show_progress_bar, write_csv, truncate_dim: as in `ColBERTTripletEvaluator`.
        normalize_scores: bring the model's scores to 0..1 first.
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
            raise ValueError("queries, documents, scores: want as many of each")
        self.queries, self.documents, self.scores = queries, documents, scores
        self.normalize_scores = normalize_scores

    def measure(self, model: ColBERT) -> float:
        """The mean over the queries."""
        queries = self._encode(model, self.queries, is_query=True)
        documents = self._encode(model, list(itertools.chain.from_iterable(self.documents)), is_query=False)
        ways = len(self.documents[0])
        repeated = [query for query in queries for _ in range(ways)]
        found = colbert_scores_pairwise(repeated, documents).unflatten(0, (len(queries), ways))
        if self.normalize_scores:
            low, high = found.amin(dim=1, keepdim=True), found.amax(dim=1, keepdim=True)
            found = (found - low) / (high - low + 1e-8)
        wanted = torch.tensor(self.scores, device=found.device).log_softmax(dim=-1)
        return float(
            torch.nn.functional.kl_div(found.log_softmax(dim=-1), wanted, reduction="batchmean", log_target=True)
        )
