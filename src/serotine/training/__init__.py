"""Training of late-interaction models on sentence-transformers' trainer: recipes, hard-negative mining, distillation.

Needs the train extra: ``pip install 'serotine[train]'``. Importing this package does not import torch.
"""

from __future__ import annotations

from serotine.training.averaging import average_models
from serotine.training.distributed import is_main_process
from serotine.training.examples import Example, read_examples
from serotine.training.mining import MiningOptions, MiningReport, mine
from serotine.training.recipe import Recipe
from serotine.training.recipe_parser import load_recipe
from serotine.training.run import TrainingReport, saved_steps, train
from serotine.training.teachers import CrossEncoderTeacher, LateInteractionTeacher, Teacher, load_encoder

__all__ = [
    "CrossEncoderTeacher",
    "Example",
    "LateInteractionTeacher",
    "MiningOptions",
    "MiningReport",
    "Recipe",
    "Teacher",
    "TrainingReport",
    "average_models",
    "is_main_process",
    "load_encoder",
    "load_recipe",
    "mine",
    "read_examples",
    "saved_steps",
    "train",
]
