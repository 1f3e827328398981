"""The loss of a stage: sentence-transformers' losses over this package's MaxSim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from serotine.maxsim import colbert_scores
from serotine.training.distillation import InBatchDistillation, scaled_kd_scores
from serotine.training.examples import Example
from serotine.training.recipe import Stage

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

TeacherVectors = tuple[Mapping[str, NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]
"""A teacher's vectors of queries and of documents, by text."""


def build_loss(
    stage: Stage, model: MultiVectorEncoder, examples: list[Example], teacher: TeacherVectors | None
) -> torch.nn.Module:
    """Return the loss of a stage.

    Args:
        stage: its objective and parameters.
        model: the model to train.
        examples: indexed by the label column; used with a teacher only.
        teacher: the vectors of `stage.teacher`, if it has one.
    """
    from sentence_transformers.multi_vector_encoder import losses

    if teacher is not None:
        return InBatchDistillation(model, examples, *teacher, stage.temperature, stage.bm25_weight)
    if stage.objective == "distillation":
        loss: torch.nn.Module = losses.MultiVectorDistillKLDivLoss(
            model, similarity_fct=scaled_kd_scores, temperature=stage.temperature
        )
    elif stage.mini_batch_size:
        loss = losses.CachedMultiVectorMultipleNegativesRankingLoss(
            model,
            similarity_fct=colbert_scores,
            scale=1 / stage.temperature,
            mini_batch_size=stage.mini_batch_size,
            gather_across_devices=stage.gather_across_devices,
        )
    else:
        loss = losses.MultiVectorMultipleNegativesRankingLoss(
            model,
            similarity_fct=colbert_scores,
            scale=1 / stage.temperature,
            gather_across_devices=stage.gather_across_devices,
        )
    return loss
