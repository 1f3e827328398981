"""Distillation of a teacher that is at hand: every query of a batch against every document of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.losses.merged_forward import embed_columns_padded
from sentence_transformers.util import stack_padded_token_embeddings
from torch import Tensor, nn

from serotine.evaluation.bm25 import Bm25
from serotine.maxsim.torch import colbert_scores
from serotine.training.examples import Example
from serotine.training.objectives import scaled

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


class InBatchDistillation(nn.Module):
    """KL divergence from the teacher's scores to the model's MaxSim, over all documents of the batch.

    The teacher's are its MaxSim, BM25 mixed in where asked for: which words are rare is what MaxSim of states that were
    never trained for it does not know.

    A batch of B queries with N documents each is encoded once and gives B lists of B * N documents, where lists scored
    beforehand give B lists of N for the same work. Both sides' scores are scaled to 0..1 in every list.

    Args:
        model: what is trained.
        rows: the examples, by the number that the label column holds.
        queries, documents: the teacher's vectors.
        temperature: of both softmaxes.
        lexical: share of BM25 in the teacher's scores, each scaled to 0..1 in every list; words are counted over the
            documents of all rows.
    """

    def __init__(
        self,
        model: MultiVectorEncoder,
        rows: list[Example],
        queries: Mapping[str, NDArray[np.float32]],
        documents: Mapping[str, NDArray[np.float32]],
        temperature: float,
        lexical: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self._rows = rows
        self._queries = queries
        self._documents = documents
        self._temperature = temperature
        self._lexical = _Lexical([text for row in rows for text in row.documents]) if lexical else None
        self._share = lexical

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
        texts = [text for row in rows for text in row.documents[:count]]
        queries = [torch.from_numpy(self._queries[row.query]) for row in rows]
        scores = colbert_scores(queries, [torch.from_numpy(self._documents[text]) for text in texts])
        if self._lexical is None:
            return scores
        words = self._lexical([row.query for row in rows], texts)
        return (1 - self._share) * scaled(scores) + self._share * scaled(words)


class _Lexical:
    """BM25 between texts, among all of a stage's documents."""

    def __init__(self, texts: list[str]) -> None:
        self._places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        self._bm25 = Bm25({str(place): text for text, place in self._places.items()})

    def __call__(self, queries: list[str], documents: list[str]) -> Tensor:
        places = [self._places[text] for text in documents]
        return torch.from_numpy(np.stack([self._bm25.scores(query)[places] for query in queries]))
