"""The engine with thresholds so low that a few documents go through all of it; for tests and their child processes."""

from __future__ import annotations

from typing import Any

from serotine.index import housekeeping, sealing, training

THRESHOLDS: tuple[tuple[Any, str, float], ...] = (
    (housekeeping, "FIRST_TRAINING", 24),
    (housekeeping, "HEAD_TOKENS", 12),
    (housekeeping, "FAN_IN", 3),
    (housekeeping, "_SMALLEST", 8),
    # So few tokens are learnt by heart: others always fit worse.
    (housekeeping, "DRIFTED", 3.0),
    (sealing, "POSTINGS_FROM", 6),
    (sealing, "_ENCODED_AT_ONCE", 16),
    (sealing, "_COPIED_AT_ONCE", 16),
    (training, "_WORTH_KEEPING", 4),
)


def shrink() -> None:
    """Sets the thresholds for the rest of the process."""
    for module, name, value in THRESHOLDS:
        setattr(module, name, value)
