"""Judging retrieval: BEIR and MIRACL, trec_eval's metrics, baselines, suites, comparisons and reports."""

from __future__ import annotations

from serotine.evaluation.beir import load_beir
from serotine.evaluation.bm25 import Bm25
from serotine.evaluation.collection import Collection
from serotine.evaluation.comparison import Comparison, compare, load_results
from serotine.evaluation.judged import Judged
from serotine.evaluation.metrics import Qrels, Run, evaluate
from serotine.evaluation.miracl import load_miracl
from serotine.evaluation.report import write_report
from serotine.evaluation.vector_cache import VectorCache, VectorLookup

__all__ = [
    "Bm25",
    "Collection",
    "Comparison",
    "Judged",
    "Qrels",
    "Run",
    "VectorCache",
    "VectorLookup",
    "compare",
    "evaluate",
    "load_beir",
    "load_miracl",
    "load_results",
    "write_report",
]
