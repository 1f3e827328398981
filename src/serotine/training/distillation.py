"""Distillation: scores scaled per list, and the loss against a teacher's MaxSim of all documents in a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.base.losses.merged_forward import (
    chunked_padded_forward,
    embed_columns_padded,
    merge_feature_batches,
)
from sentence_transformers.util import stack_padded_token_embeddings
from torch import Tensor, nn

from serotine.maxsim import colbert_kd_scores, colbert_scores
from serotine.training.examples import Example
from serotine.training.lexical import LexicalScorer
from serotine.training.merged_documents import merged_documents
from serotine.training.teacher_vectors import TeacherVectors

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

# A batch of one topic holds documents of all lengths: each part is padded to its own longest one only.
_LENGTH_PARTS = 3


class InBatchDistillation(nn.Module):
    """KL divergence from the teachers' scores to the model's MaxSim, over all documents in the batch.

    The scores to learn are the mean of each teacher's MaxSim, with a share of BM25 if asked for: MaxSim of states that
    were not trained for it ignores how rare a word is. A batch of B queries with N documents each is encoded once and
    gives B lists of B * N documents. All scores, the student's too, are scaled to 0..1 per list.

    Args:
        model: the student.
        examples: those of one source, by their value in the label column.
        teachers: at least one.
        temperature: of both softmaxes.
        bm25_weight: share of BM25 in the scores; terms are counted over the documents of all examples.
        matryoshka: weights of the loss of the first so many dimensions of every vector, by their number; that of whole
            vectors has 1.
        pooling: weights of the loss of merged document vectors, by the factor of token pooling; that of all has 1.
    """

    def __init__(
        self,
        model: MultiVectorEncoder,
        examples: Mapping[int, Example],
        teachers: Sequence[TeacherVectors],
        temperature: float,
        bm25_weight: float = 0.0,
        matryoshka: Mapping[int, float] | None = None,
        pooling: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._examples = examples
        self._teachers = teachers
        self._temperature = temperature
        self._bm25_weight = bm25_weight
        self._matryoshka = dict(matryoshka or {})
        self._pooling = dict(pooling or {})
        self._lexical = (
            LexicalScorer(text for example in examples.values() for text in example.read_by_teacher.documents)
            if bm25_weight
            else None
        )

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        """Return the loss of a batch; called as sentence-transformers' losses are."""
        columns = [dict(features) for features in sentence_features]
        queries = self.model(columns[0], task="query")
        documents, documents_mask = self._document_vectors(columns[1:])
        teacher_scores = self._teacher_scores(labels, len(columns) - 1).to(documents.device)
        target = torch.log_softmax(min_max_scaled(teacher_scores) / self._temperature, dim=-1)

        def divergence(queries_part: Tensor, documents_part: Tensor, mask: Tensor) -> Tensor:
            scores = colbert_scores(
                queries_part,
                documents_part,
                queries_mask=queries["attention_mask"].bool(),
                documents_mask=mask,
            )
            student = torch.log_softmax(min_max_scaled(scores.float()) / self._temperature, dim=-1)
            return nn.functional.kl_div(student, target, reduction="batchmean", log_target=True)

        query_vectors = queries["token_embeddings"]
        loss = divergence(query_vectors, documents, documents_mask)
        for dim, weight in self._matryoshka.items():
            first_of_queries, first_of_documents = (
                nn.functional.normalize(vectors[..., :dim], dim=-1) for vectors in (query_vectors, documents)
            )
            loss = loss + weight * divergence(first_of_queries, first_of_documents, documents_mask)
        for factor, weight in self._pooling.items():
            loss = loss + weight * divergence(query_vectors, *merged_documents(documents, documents_mask, factor))
        return loss

    def _document_vectors(self, columns: list[dict[str, Any]]) -> tuple[Tensor, Tensor]:
        """Return the vectors (queries, documents, tokens, dim) and their mask, encoded in parts of similar length."""
        features = columns[0] if len(columns) == 1 else merge_feature_batches(columns)
        if features is None or "cu_seq_lens_q" in features:
            # Columns that cannot be merged, or texts without padding between them.
            return stack_padded_token_embeddings(*embed_columns_padded(self.model, columns, None, "document"))
        order = features["attention_mask"].sum(dim=1).argsort(stable=True)
        ordered = {
            name: value[order] if isinstance(value, Tensor) and value.shape[:1] == order.shape else value
            for name, value in features.items()
        }
        part = -(-len(order) // _LENGTH_PARTS)
        encoded = chunked_padded_forward(self.model, ordered, features.get("task", "document"), part)
        vectors, mask = (values[order.argsort()].unflatten(0, (len(columns), -1)).transpose(0, 1) for values in encoded)
        return vectors, mask.bool()

    @torch.no_grad()
    def _teacher_scores(self, labels: Tensor, documents_per_query: int) -> Tensor:
        examples = [self._examples[label].read_by_teacher for label in labels.tolist()]
        queries = [example.query for example in examples]
        texts = [text for example in examples for text in example.documents[:documents_per_query]]
        scores = torch.zeros(len(examples), len(texts))
        for teacher in self._teachers:
            maxsim = colbert_scores(
                list(map(torch.from_numpy, teacher.queries(queries))),
                list(map(torch.from_numpy, teacher.documents(texts))),
            )
            scores += teacher.weight * min_max_scaled(maxsim)
        if self._lexical is None:
            return scores
        bm25 = torch.from_numpy(np.stack([self._lexical.scores(query, texts) for query in queries]))
        return (1 - self._bm25_weight) * min_max_scaled(scores) + self._bm25_weight * min_max_scaled(bm25)


def min_max_scaled(scores: Tensor) -> Tensor:
    """Return (lists, documents) scores with each row scaled to 0..1; a row of equal scores becomes zeros."""
    least = scores.amin(dim=-1, keepdim=True)
    return (scores - least) / (scores.amax(dim=-1, keepdim=True) - least).clamp(min=1e-6)


def scaled_kd_scores(*arguments: Any, **options: Any) -> Tensor:
    """Return `colbert_kd_scores` of the same arguments, each list scaled to 0..1 as the teacher's scores are.

    The student learns the teacher's order and spacing, not its scale.
    """
    return min_max_scaled(colbert_kd_scores(*arguments, **options))
