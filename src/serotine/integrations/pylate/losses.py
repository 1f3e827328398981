"""`losses`: PyLate's training losses, scored by the MaxSim kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from serotine.integrations.pylate.gradient_cache import CachedEmbeddings
from serotine.integrations.pylate.models import ColBERT
from serotine.integrations.pylate.scores import ColBERTScores, colbert_kd_scores
from serotine.integrations.pylate.utils import gather, rank_and_size

__all__ = ["CachedContrastive", "Contrastive", "Distillation", "extract_skiplist_mask"]

Features = Sequence[dict[str, Tensor]]
ScoreFunction = Callable[..., Tensor]


class _InBatchLoss(nn.Module):
    """Cross-entropy of each query's own document among all documents of the batch (Khattab and Zaharia 2020)."""

    def __init__(
        self, model: ColBERT, score_metric: ScoreFunction | None, size_average: bool, gather: bool, temperature: float
    ) -> None:
        super().__init__()
        self.model = model
        self.score_metric: ScoreFunction = ColBERTScores() if score_metric is None else score_metric
        self.size_average = size_average
        self.gather_across_devices = gather
        self.temperature = temperature

    def _masks(self, features: Features) -> list[Tensor | None]:
        model = _unwrap(self.model)
        masks: list[Tensor | None] = list(extract_skiplist_mask(features, model.skiplist))
        # Expansion tokens are scored, though no token may attend to them.
        if model.do_query_expansion:
            masks[0] = None
        return masks

    def _losses(self, embeddings: Sequence[Tensor], masks: list[Tensor | None], step: int) -> Iterable[Tensor]:
        """Yield the summed loss of every `step` queries."""
        queries = embeddings[0]
        groups = len(embeddings) - 1
        documents, documents_mask = _stack_columns(embeddings[1:], [mask for mask in masks[1:] if mask is not None])
        first = 0
        if self.gather_across_devices:
            first = rank_and_size()[0] * len(queries)
            documents, documents_mask = gather(documents), gather(documents_mask)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            queries_mask = None if masks[0] is None else masks[0][rows]
            scores = self.score_metric(
                queries[rows], documents, queries_mask=queries_mask, documents_mask=documents_mask
            )
            positives = (torch.arange(len(scores), device=scores.device) + start + first) * groups
            # Gathering returns every process's gradients to the owner of the documents, so the mean over processes,
            # which distributed training takes, is that of the whole batch.
            yield functional.cross_entropy(scores / self.temperature, positives, reduction="sum")


class Contrastive(_InBatchLoss):
    """Contrastive loss over in-batch documents.

    Args:
        model: a `models.ColBERT`.
        score_metric: a function like `scores.ColBERTScores`, the default.
        score_mini_batch_size: queries scored at once; all unless given.
        size_average: return the mean over the queries; their sum otherwise.
        gather_across_devices: score the documents of all processes.
        temperature: divisor of the scores.
    """

    def __init__(
        self,
        model: ColBERT,
        score_metric: ScoreFunction | None = None,
        score_mini_batch_size: int | None = None,
        size_average: bool = True,
        gather_across_devices: bool = False,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(model, score_metric, size_average, gather_across_devices, temperature)
        self.score_mini_batch_size = score_mini_batch_size

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            sentence_features: `ColBERT.tokenize` of the queries, of their documents, and of any negatives.
            labels: not used.
        """
        features = list(sentence_features)
        embeddings = [_normalize(self.model(column)) for column in features]
        count = len(embeddings[0])
        losses = self._losses(embeddings, self._masks(features), self.score_mini_batch_size or count)
        loss = torch.stack(list(losses)).sum()
        return loss / count if self.size_average else loss


class CachedContrastive(_InBatchLoss):
    """`Contrastive` for batches larger than memory: encoded in mini-batches with cached gradients (Gao et al. 2021).

    Args:
        model, score_metric, size_average, gather_across_devices, temperature: as in `Contrastive`.
        mini_batch_size: texts encoded at once.
        score_mini_batch_size: queries scored at once; `mini_batch_size` unless given.
        show_progress_bar: draw a bar on standard error.
    """

    def __init__(
        self,
        model: ColBERT,
        score_metric: ScoreFunction | None = None,
        mini_batch_size: int = 32,
        score_mini_batch_size: int | None = None,
        size_average: bool = True,
        gather_across_devices: bool = False,
        show_progress_bar: bool = False,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(model, score_metric, size_average, gather_across_devices, temperature)
        self.mini_batch_size = mini_batch_size
        self.score_mini_batch_size = score_mini_batch_size or mini_batch_size
        self.show_progress_bar = show_progress_bar

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, as `Contrastive.forward`."""
        features = list(sentence_features)
        cache = CachedEmbeddings(self.model, features, self.mini_batch_size, show_progress=self.show_progress_bar)
        count = len(features[0]["input_ids"])
        masks = self._masks(features)

        def losses(embeddings: Sequence[Tensor]) -> Iterable[Tensor]:
            for loss in self._losses(embeddings, masks, self.score_mini_batch_size):
                yield loss / count if self.size_average else loss

        return cache.loss(losses)


class Distillation(nn.Module):
    """KL divergence from a teacher's scores of each query's documents.

    Args:
        model: a `models.ColBERT`.
        score_metric: a function like `scores.colbert_kd_scores`.
        size_average: return the mean over the queries; the sum otherwise.
        normalize_scores: scale each query's scores to 0..1 first.
    """

    def __init__(
        self,
        model: ColBERT,
        score_metric: ScoreFunction = colbert_kd_scores,
        size_average: bool = True,
        normalize_scores: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.score_metric = score_metric
        self.size_average = size_average
        self.normalize_scores = normalize_scores

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            sentence_features: `ColBERT.tokenize` of the queries, and of all their documents concatenated.
            labels: the teacher's scores, (queries, documents per query).
        """
        features = list(sentence_features)
        queries, documents = (_normalize(self.model(column)) for column in features)
        model = _unwrap(self.model)
        queries_mask, documents_mask = extract_skiplist_mask(features, model.skiplist)
        scores = self.score_metric(
            queries,
            documents.unflatten(0, (len(queries), -1)),
            queries_mask=None if model.do_query_expansion else queries_mask,
            documents_mask=documents_mask.unflatten(0, (len(queries), -1)),
        )
        if self.normalize_scores:
            low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
            scores = (scores - low) / (high - low + 1e-8)
        return functional.kl_div(
            scores.log_softmax(dim=-1),
            labels.log_softmax(dim=-1),
            reduction="batchmean" if self.size_average else "sum",
            log_target=True,
        )


def extract_skiplist_mask(sentence_features: Features, skiplist: Sequence[int]) -> list[Tensor]:
    """Return which tokens of each column are scored, bool (texts, tokens): no padding and, in documents, no skips."""
    masks = [features["attention_mask"].bool() for features in sentence_features]
    return masks[:1] + [
        mask & ColBERT.skiplist_mask(features["input_ids"], skiplist)
        for mask, features in zip(masks[1:], sentence_features[1:], strict=True)
    ]


def _normalize(features: dict[str, Tensor]) -> Tensor:
    return functional.normalize(features["token_embeddings"], dim=-1)


def _stack_columns(columns: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack document columns to (queries, columns, tokens, dim), and their masks, zero-padded to the most tokens."""
    length = max(column.shape[1] for column in columns)
    documents = [functional.pad(column, (0, 0, 0, length - column.shape[1])) for column in columns]
    padded_masks = [functional.pad(mask, (0, length - mask.shape[1])) for mask in masks]
    return torch.stack(documents, dim=1), torch.stack(padded_masks, dim=1)


def _unwrap(model: Any) -> ColBERT:
    """Return the model inside distributed training's wrapper."""
    inner: ColBERT = model if hasattr(model, "skiplist") else model.module
    return inner
