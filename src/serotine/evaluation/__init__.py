"""Judging retrieval: collections in BEIR's layout, trec_eval's metrics, a BM25 baseline."""

from __future__ import annotations

from serotine.evaluation.beir import Collection, load_beir
from serotine.evaluation.bm25 import Bm25
from serotine.evaluation.metrics import Qrels, Run, evaluate

__all__ = ["Bm25", "Collection", "Qrels", "Run", "evaluate", "load_beir"]
