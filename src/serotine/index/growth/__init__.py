"""Growth of an index: codebook training, encoding and merging of segments. What the other rooms of the index import."""

from __future__ import annotations

from serotine.index.growth.kmeans import k_means
from serotine.index.growth.maintenance import Maintenance
from serotine.index.growth.policy import FIRST_TRAINING, first_training_at

__all__ = ["FIRST_TRAINING", "Maintenance", "first_training_at", "k_means"]
