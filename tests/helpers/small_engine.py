"""Thresholds so low that a few documents trigger every maintenance job; for tests and their child processes."""

from __future__ import annotations

from typing import Any

from serotine.index.growth import codebook_training, policy, rewrite
from serotine.index.search import plan

THRESHOLDS: tuple[tuple[Any, str, float], ...] = (
    (policy, "FIRST_TRAINING", 24),
    (policy, "HEAD_TOKENS", 12),
    (policy, "FAN_IN", 3),
    (policy, "_SMALLEST", 8),
    # A codebook of so few tokens has nearly memorized them: other tokens always fit worse.
    (policy, "DRIFTED", 3.0),
    (rewrite, "_POSTINGS_FROM", 6),
    # Posting lists are read where they exclude documents.
    (plan, "_REFINED", 0),
    (plan, "PROBED_FROM", 0),
    (plan, "_PROBED_FROM_PER_REFINED", 0),
    (rewrite, "_ENCODED_TOKENS", 16),
    (rewrite, "_COPIED_TOKENS", 16),
    (codebook_training, "_MIN_CHECKPOINT", 4),
)


def shrink() -> None:
    """Set the thresholds for the rest of the process."""
    for module, name, value in THRESHOLDS:
        setattr(module, name, value)
