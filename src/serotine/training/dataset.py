"""The dataset of a stage: usable examples of each source as columns for sentence-transformers' trainer."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset, DatasetDict

from serotine.errors import TrainingError
from serotine.training.distillation import min_max_scaled
from serotine.training.examples import Example
from serotine.training.recipe import Stage

LabeledExamples = dict[str, dict[int, Example]]
"""Examples by source and label; labels are numbered over all sources."""


def build_dataset(stage: Stage, examples: dict[str, list[Example]]) -> tuple[DatasetDict, LabeledExamples]:
    """Return a stage's dataset and, if it has teachers, the examples of each source by their value in the label column.

    Args:
        stage: which sources, and how many documents per query.
        examples: by source.

    Raises:
        TrainingError: a source has too few usable examples for one batch.
    """
    datasets: dict[str, Dataset] = {}
    labeled: LabeledExamples = {}
    labels = 0
    for name in stage.sources:
        usable = usable_examples(stage, examples[name])
        if len(usable) < stage.batch_size:
            count = stage.documents_per_query
            required = f"{count} document{'' if count == 1 else 's'}{' and scores' if stage.needs_scores else ''} each"
            raise TrainingError(
                f"stage {stage.name!r}: source {name!r} has {len(usable):,} examples of {required}, "
                f"fewer than a batch of {stage.batch_size}; lower batch_size or remove the source"
            )
        columns = _columns(stage, usable)
        if stage.teachers:
            labeled[name] = dict(enumerate(usable, start=labels))
            columns["label"] = list(labeled[name])
            labels += len(usable)
        datasets[name] = Dataset.from_dict(columns)
    return DatasetDict(datasets), labeled


def usable_examples(stage: Stage, examples: list[Example]) -> list[Example]:
    """Return the examples with enough documents, and with different scores if the stage needs scores.

    A longer scored list is cut to the positive and documents at even steps from the best-scored to the worst.
    """
    count = stage.documents_per_query
    return [
        _truncate(example, count)
        for example in examples
        if len(example.documents) >= count
        and (not stage.needs_scores or (example.scores is not None and max(example.scores) > min(example.scores)))
    ]


def _columns(stage: Stage, examples: list[Example]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"query": [example.query for example in examples]}
    for number in range(stage.documents_per_query):
        columns[f"negative_{number}" if number else "positive"] = [example.documents[number] for example in examples]
    if stage.needs_scores:
        columns["scores"] = [min_max_scaled(torch.tensor([example.scores]))[0].tolist() for example in examples]
    return columns


def _truncate(example: Example, count: int) -> Example:
    if example.scores is None:
        return example.with_documents(range(count))
    scores = example.scores
    by_score = sorted(range(1, len(example.documents)), key=lambda i: -scores[i])
    ranks = [round(i * (len(by_score) - 1) / max(count - 2, 1)) for i in range(count - 1)]
    positions = [0, *(by_score[rank] for rank in ranks)]
    return example.with_documents(positions)
