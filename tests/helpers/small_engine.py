"""The engine with thresholds so low that a few documents go through all of it; for tests and their child processes."""

from __future__ import annotations

from typing import Any

from serotine.index.growth import codebook_training, maintenance, rewrite

THRESHOLDS: tuple[tuple[Any, str, float], ...] = (
    (maintenance, "FIRST_TRAINING", 24),
    (maintenance, "HEAD_TOKENS", 12),
    (maintenance, "FAN_IN", 3),
    (maintenance, "_SMALLEST", 8),
    # So few tokens are learnt by heart: others always fit worse.
    (maintenance, "DRIFTED", 3.0),
    (rewrite, "POSTINGS_FROM", 6),
    (rewrite, "_ENCODED_AT_ONCE", 16),
    (rewrite, "_COPIED_AT_ONCE", 16),
    (codebook_training, "_WORTH_KEEPING", 4),
)


def shrink() -> None:
    """Sets the thresholds for the rest of the process."""
    for module, name, value in THRESHOLDS:
        setattr(module, name, value)
