"""What can be judged: late interaction, an index, a dense model's pooled vectors, BM25."""

from __future__ import annotations

from serotine.evaluation.systems.base import Answer, System, for_collection
from serotine.evaluation.systems.late import LateInteraction
from serotine.evaluation.systems.pooled import Pooled
from serotine.evaluation.systems.searched import Searched
from serotine.evaluation.systems.words import Words

__all__ = ["Answer", "LateInteraction", "Pooled", "Searched", "System", "Words", "for_collection"]
