# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Distillation of a teacher that is at hand: every query of a batch against every document of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.losses.merged_forward import embed_columns_padded
from sentence_transformers.util import stack_padded_token_embeddings
from torch import Tensor, nn

from serotine.maxsim.torch import colbert_scores
from serotine.training.examples import Example
from serotine.training.objectives import scaled
from serotine.training.teacher_vectors import TeacherVectors

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


class InBatchDistillation(nn.Module):
    """KL divergence from the teacher's MaxSim to the model's, over all documents of the batch.

    A batch of B queries with N documents each is encoded once and gives B lists of B * N documents, where lists scored
    beforehand give B lists of N for the same work. Both sides' scores are scaled to 0..1 in every list.

    Args:
        model: what is trained.
        rows: the examples, by the number that the label column holds.
        queries, documents: the teacher's vectors.
        temperature: of both softmaxes.
    """

    def __init__(
        self,
        model: MultiVectorEncoder,
        rows: list[Example],
        queries: TeacherVectors,
        documents: TeacherVectors,
        temperature: float,
    ) -> None:
        super().__init__()
        self.model = model
        self._rows = rows
        self._queries = queries
        self._documents = documents
        self._temperature = temperature

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """The loss of a batch, as sentence-transformers' losses are called."""
        columns = [dict(features) for features in sentence_features]
        asked = self.model(columns[0], task="query")
        vectors, masks = embed_columns_padded(self.model, columns[1:], None, task_default="document")
        documents, documents_mask = stack_padded_token_embeddings(vectors, masks)
        scores = colbert_scores(
            asked["token_embeddings"],
            documents,
            queries_mask=asked["attention_mask"].bool(),
            documents_mask=documents_mask,
        )
        wanted = self._teacher(labels, len(columns) - 1).to(scores.device)
        student = torch.log_softmax(scaled(scores.float()) / self._temperature, dim=-1)
        teacher = torch.log_softmax(scaled(wanted) / self._temperature, dim=-1)
        return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)

    @torch.no_grad()
    def _teacher(self, labels: Tensor, count: int) -> Tensor:
        rows = [self._rows[number] for number in labels.tolist()]
        queries = [torch.from_numpy(self._queries[row.query]) for row in rows]
        documents = [torch.from_numpy(self._documents[text]) for row in rows for text in row.documents[:count]]
        return colbert_scores(queries, documents)
