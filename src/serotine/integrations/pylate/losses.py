"""`losses`: PyLate's training losses, scored by the MaxSim kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from serotine.integrations.pylate.columns import Features, extract_skiplist_mask, grouped, normalised, unwrapped
from serotine.integrations.pylate.gradient_cache import CachedEmbeddings
from serotine.integrations.pylate.models import ColBERT
from serotine.integrations.pylate.scores import ColBERTScores, colbert_kd_scores
from serotine.integrations.pylate.utils import gathered, rank_and_size

__all__ = ["CachedContrastive", "Contrastive", "Distillation", "extract_skiplist_mask"]

Score = Callable[..., Tensor]


class _InBatch(nn.Module):
    """Cross-entropy of each query's own document among all documents of the batch (Khattab and Zaharia 2020)."""

    def __init__(
        self, model: ColBERT, score_metric: Score | None, size_average: bool, gather: bool, temperature: float
    ) -> None:
        super().__init__()
        self.model = model
        self.score_metric: Score = ColBERTScores() if score_metric is None else score_metric
        self.size_average = size_average
        self.gather_across_devices = gather
        self.temperature = temperature

    def _masks(self, features: Features) -> list[Tensor | None]:
        model = unwrapped(self.model)
        masks: list[Tensor | None] = list(extract_skiplist_mask(features, model.skiplist))
        # What fills a query up is scored, though no token may look at it.
        if model.do_query_expansion:
            masks[0] = None
        return masks

    def _losses(self, embeddings: Sequence[Tensor], masks: list[Tensor | None], step: int) -> Iterable[Tensor]:
        """The summed loss of every `step` queries."""
        queries = embeddings[0]
        groups = len(embeddings) - 1
        documents, kept = grouped(embeddings[1:], [mask for mask in masks[1:] if mask is not None])
        first = 0
        if self.gather_across_devices:
            first = rank_and_size()[0] * len(queries)
            documents, kept = gathered(documents), gathered(kept)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            mask = None if masks[0] is None else masks[0][rows]
            scores = self.score_metric(queries[rows], documents, queries_mask=mask, documents_mask=kept)
            wanted = (torch.arange(len(scores), device=scores.device) + start + first) * groups
            # Gathering sends every process's gradients back to whose documents they are: the mean over processes, which
            # distributed training takes, is then that of the whole batch.
            yield functional.cross_entropy(scores / self.temperature, wanted, reduction="sum")


class Contrastive(_InBatch):
    """Contrastive loss over in-batch documents.

    Args:
        model: an `models.ColBERT`.
        score_metric: as `scores.ColBERTScores`, which it is unless given.
        score_mini_batch_size: queries scored at once; all unless given.
        size_average: the mean over the queries; their sum otherwise.
        gather_across_devices: take the documents of all processes.
        temperature: scores are divided by it.
    """

    def __init__(
        self,
        model: ColBERT,
        score_metric: Score | None = None,
        score_mini_batch_size: int | None = None,
        size_average: bool = True,
        gather_across_devices: bool = False,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(model, score_metric, size_average, gather_across_devices, temperature)
        self.score_mini_batch_size = score_mini_batch_size

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            sentence_features: what `ColBERT.tokenize` gives of queries, of their documents, and of any negatives.
            labels: not used.
        """
        features = list(sentence_features)
        embeddings = [normalised(self.model(one)) for one in features]
        count = len(embeddings[0])
        losses = self._losses(embeddings, self._masks(features), self.score_mini_batch_size or count)
        loss = torch.stack(list(losses)).sum()
        return loss / count if self.size_average else loss


class CachedContrastive(_InBatch):
    """`Contrastive` for batches larger than memory: encoded in small parts, gradients cached (Gao et al. 2021).

    Args:
        model, score_metric, size_average, gather_across_devices, temperature: as in `Contrastive`.
        mini_batch_size: texts encoded at once.
        score_mini_batch_size: queries scored at once; `mini_batch_size` unless given.
        show_progress_bar: draw a bar on standard error.
    """

    def __init__(
        self,
        model: ColBERT,
        score_metric: Score | None = None,
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
        """As `Contrastive.forward`."""
        features = list(sentence_features)
        cache = CachedEmbeddings(self.model, features, self.mini_batch_size, show_progress=self.show_progress_bar)
        count = len(features[0]["input_ids"])
        masks = self._masks(features)

        def parts(embeddings: Sequence[Tensor]) -> Iterable[Tensor]:
            for loss in self._losses(embeddings, masks, self.score_mini_batch_size):
                yield loss / count if self.size_average else loss

        return cache.loss(parts)


class Distillation(nn.Module):
    """KL divergence from a teacher's scores of each query's documents.

    Args:
        model: an `models.ColBERT`.
        score_metric: as `scores.colbert_kd_scores`.
        size_average: the mean over the queries; the sum otherwise.
        normalize_scores: bring each query's scores to 0..1 first.
    """

    def __init__(
        self,
        model: ColBERT,
        score_metric: Score = colbert_kd_scores,
        size_average: bool = True,
        normalize_scores: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.score_metric = score_metric
        self.size_average = size_average
        self.normalize_scores = normalize_scores

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            sentence_features: what `ColBERT.tokenize` gives of the queries, and of all their documents end to end.
            labels: the teacher's scores, (queries, documents each).
        """
        features = list(sentence_features)
        queries, documents = (normalised(self.model(one)) for one in features)
        model = unwrapped(self.model)
        query_mask, kept = extract_skiplist_mask(features, model.skiplist)
        scores = self.score_metric(
            queries,
            documents.unflatten(0, (len(queries), -1)),
            queries_mask=None if model.do_query_expansion else query_mask,
            documents_mask=kept.unflatten(0, (len(queries), -1)),
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
