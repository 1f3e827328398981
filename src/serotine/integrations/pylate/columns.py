"""Columns of a training batch: which of their tokens count, and documents side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from serotine.integrations.pylate.models import ColBERT

Features = Sequence[dict[str, Tensor]]


def extract_skiplist_mask(sentence_features: Features, skiplist: Sequence[int]) -> list[Tensor]:
    """Which tokens of each column count, bool (texts, tokens): attended to and, in documents, not skipped."""
    masks = [features["attention_mask"].bool() for features in sentence_features]
    return masks[:1] + [
        mask & ColBERT.skiplist_mask(features["input_ids"], skiplist)
        for mask, features in zip(masks[1:], sentence_features[1:], strict=True)
    ]


def normalised(features: dict[str, Tensor]) -> Tensor:
    """A model's vectors, scaled to length 1."""
    return functional.normalize(features["token_embeddings"], dim=-1)


def grouped(columns: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Columns of documents as (queries, columns, tokens, dim) and their masks, filled up to the longest."""
    longest = max(column.shape[1] for column in columns)
    documents = [functional.pad(column, (0, 0, 0, longest - column.shape[1])) for column in columns]
    kept = [functional.pad(mask, (0, longest - mask.shape[1])) for mask in masks]
    return torch.stack(documents, dim=1), torch.stack(kept, dim=1)


def unwrapped(model: Any) -> ColBERT:
    """The model inside what distributed training wraps around it."""
    found: ColBERT = model if hasattr(model, "skiplist") else model.module
    return found
