"""The precision of a run's products."""

from __future__ import annotations

from serotine.training.recipe import Recipe


def in_bfloat16(recipe: Recipe) -> bool:
    """Return whether a run computes products in bfloat16."""
    import torch

    if recipe.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return recipe.precision == "bfloat16"
