"""Measuring the recall of an index on itself. What the other rooms of the index import."""

from __future__ import annotations

from serotine.index.tuning.tuner import Tuner, TuneReport, describe_recall

__all__ = ["TuneReport", "Tuner", "describe_recall"]
