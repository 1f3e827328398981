"""The loss of a stage: sentence-transformers' losses over this package's MaxSim, or XTR's scores."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from serotine.maxsim import colbert_scores, xtr_scores
from serotine.training.dataset import LabeledExamples
from serotine.training.distillation import InBatchDistillation, scaled_kd_scores
from serotine.training.recipe import Stage
from serotine.training.teacher_vectors import TeacherVectors

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


def build_loss(
    stage: Stage, model: MultiVectorEncoder, examples: LabeledExamples, teachers: list[TeacherVectors]
) -> torch.nn.Module | dict[str, torch.nn.Module]:
    """Return the loss of a stage, or that of each of its sources if it has teachers.

    Args:
        stage: its objective and parameters.
        model: the model to train.
        examples: by source and label; used with teachers only.
        teachers: the vectors of each of `stage.teachers`.
    """
    from sentence_transformers.multi_vector_encoder import losses

    if teachers:
        matryoshka = dict.fromkeys(stage.matryoshka_dims, stage.matryoshka_weight)
        pooling = dict.fromkeys(stage.pool_factors, stage.pool_weight)
        return {
            source: InBatchDistillation(
                model,
                of_source,
                [vectors for share, vectors in zip(stage.teachers, teachers, strict=True) if share.scores(source)],
                stage.temperature,
                stage.bm25_weight if source in (stage.bm25_sources or stage.sources) else 0.0,
                matryoshka,
                pooling,
            )
            for source, of_source in examples.items()
        }
    similarity = functools.partial(xtr_scores, k_token=stage.k_token) if stage.k_token else colbert_scores
    if stage.objective == "distillation":
        loss: torch.nn.Module = losses.MultiVectorDistillKLDivLoss(
            model, similarity_fct=scaled_kd_scores, temperature=stage.temperature
        )
    elif stage.mini_batch_size:
        loss = losses.CachedMultiVectorMultipleNegativesRankingLoss(
            model,
            similarity_fct=similarity,
            scale=1 / stage.temperature,
            mini_batch_size=stage.mini_batch_size,
            gather_across_devices=stage.gather_across_devices,
        )
    else:
        loss = losses.MultiVectorMultipleNegativesRankingLoss(
            model,
            similarity_fct=similarity,
            scale=1 / stage.temperature,
            gather_across_devices=stage.gather_across_devices,
        )
    return loss
