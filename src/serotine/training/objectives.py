"""What is minimised over our MaxSim, and the columns each loss wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from serotine.maxsim.torch import colbert_kd_scores, colbert_scores
from serotine.training.examples import Example
from serotine.training.recipe import Stage

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder


def loss(stage: Stage, model: MultiVectorEncoder) -> torch.nn.Module:
    """The loss of a stage without a teacher at hand: one of sentence-transformers'."""
    from sentence_transformers.multi_vector_encoder import losses

    if stage.objective == "distillation":
        made: torch.nn.Module = losses.MultiVectorDistillKLDivLoss(
            model, similarity_fct=scaled_kd_scores, temperature=stage.temperature
        )
    elif stage.mini_batch:
        made = losses.CachedMultiVectorMultipleNegativesRankingLoss(
            model,
            similarity_fct=colbert_scores,
            scale=1 / stage.temperature,
            mini_batch_size=stage.mini_batch,
            gather_across_devices=stage.gather,
        )
    else:
        made = losses.MultiVectorMultipleNegativesRankingLoss(
            model, similarity_fct=colbert_scores, scale=1 / stage.temperature, gather_across_devices=stage.gather
        )
    return made


def scaled_kd_scores(*arguments: Any, **options: Any) -> Tensor:
    """`colbert_kd_scores`, every list scaled to 0..1 as the teacher's are.

    What is learnt is then the teacher's order and spacing, not its scale, and a student that agrees has nothing to
    change. Arguments and shape as `colbert_kd_scores`.
    """
    return scaled(colbert_kd_scores(*arguments, **options))


def scaled(scores: Tensor) -> Tensor:
    """Every row of (lists, documents) with its least as 0 and its largest as 1; a row of equals as zeros."""
    least = scores.amin(dim=-1, keepdim=True)
    return (scores - least) / (scores.amax(dim=-1, keepdim=True) - least).clamp(min=1e-6)


def columns(stage: Stage, examples: list[Example]) -> dict[str, list[Any]] | None:
    """The columns of the examples that have enough documents (and scores, for distillation); None if none has.

    Of a list that is longer, documents are taken at even steps from the best-scored to the worst, the positive always.
    """
    rows = chosen(stage, examples)
    if not rows:
        return None
    made: dict[str, list[Any]] = {"query": [one.query for one in rows]}
    for number in range(stage.documents):
        made[f"negative_{number}" if number else "positive"] = [one.documents[number] for one in rows]
    if needs_scores(stage):
        made["scores"] = [scaled(torch.tensor([one.scores]))[0].tolist() for one in rows]
    return made


def needs_scores(stage: Stage) -> bool:
    """Whether a stage trains on scores in its sources."""
    return stage.objective == "distillation" and stage.teacher is None


def chosen(stage: Stage, examples: list[Example]) -> list[Example]:
    """The examples that a stage can use, each with as many documents as it wants."""
    scored = needs_scores(stage)
    return [
        _cut(one, stage.documents)
        for one in examples
        if len(one.documents) >= stage.documents and (not scored or (one.scores is not None and _spread(one.scores)))
    ]


def _spread(scores: tuple[float, ...]) -> bool:
    return max(scores) > min(scores)


def _cut(example: Example, count: int) -> Example:
    if example.scores is None:
        return Example(example.query, example.documents[:count])
    scores = example.scores
    others = sorted(range(1, len(example.documents)), key=lambda i: -scores[i])
    steps = [round(i * (len(others) - 1) / max(count - 2, 1)) for i in range(count - 1)]
    places = [0, *(others[step] for step in steps)]
    return Example(example.query, tuple(example.documents[i] for i in places), tuple(scores[i] for i in places))
