"""Judging retrieval: BEIR and MIRACL collections, trec_eval's metrics, baselines, suites that survive being killed."""

from __future__ import annotations

from serotine.evaluation.beir import load_beir
from serotine.evaluation.bm25 import Bm25
from serotine.evaluation.collection import Collection
from serotine.evaluation.judged import Judged
from serotine.evaluation.metrics import Qrels, Run, evaluate
from serotine.evaluation.miracl import load_miracl

__all__ = ["Bm25", "Collection", "Judged", "Qrels", "Run", "evaluate", "load_beir", "load_miracl"]
