"""From a dense encoder to a late-interaction model, on sentence-transformers' trainer: recipes, mining, distillation.

Needs the train extra: ``pip install 'serotine[train]'``. Importing this package does not import torch.
"""

from __future__ import annotations

from serotine.training.recipe import Recipe, load_recipe
from serotine.training.run import TrainingReport, train

__all__ = ["Recipe", "TrainingReport", "load_recipe", "train"]
