"""Evaluation of retrieval: BEIR and MIRACL collections, trec_eval's metrics, baselines, suites, comparisons, reports.

What other rooms may import; each name loads its module on first use. `__all__` is the public surface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.lazy_names import lazy_names

if TYPE_CHECKING:
    from serotine.evaluation.comparison.compare import Comparison, compare, load_results
    from serotine.evaluation.comparison.significance import randomization_test as randomization_test
    from serotine.evaluation.comparison.summary import Row as Row
    from serotine.evaluation.comparison.summary import summarize as summarize
    from serotine.evaluation.data.beir import beir_texts as beir_texts
    from serotine.evaluation.data.beir import load_beir
    from serotine.evaluation.data.collection import Collection
    from serotine.evaluation.data.identical_ids import IdenticalIds as IdenticalIds
    from serotine.evaluation.data.miracl import load_miracl
    from serotine.evaluation.data.multilingual import find_multilingual as find_multilingual
    from serotine.evaluation.data.records import Record as Record
    from serotine.evaluation.data.records import read_records as read_records
    from serotine.evaluation.data.records import validate_text as validate_text
    from serotine.evaluation.data.sources import Source, find_sources
    from serotine.evaluation.data.sources import find_suite as find_suite
    from serotine.evaluation.data.sources import validate_unique_names as validate_unique_names
    from serotine.evaluation.metrics import Qrels, Run, evaluate
    from serotine.evaluation.metrics import evaluate_queries as evaluate_queries
    from serotine.evaluation.pooled_weights import FittedWeights, fit_pooled_weights
    from serotine.evaluation.report.charts import operating_points as operating_points
    from serotine.evaluation.report.page import write_report
    from serotine.evaluation.result import Result
    from serotine.evaluation.runner import CACHE_FOLDER as CACHE_FOLDER
    from serotine.evaluation.runner import EvaluationOptions, evaluate_system, evaluate_systems
    from serotine.evaluation.systems.base import System as System
    from serotine.evaluation.systems.base import encoder_for_collection as encoder_for_collection
    from serotine.evaluation.systems.bm25 import BM25, BM25Baseline
    from serotine.evaluation.systems.index import IndexSearch
    from serotine.evaluation.systems.late import LateInteraction
    from serotine.evaluation.systems.pooled import Pooled as Pooled
    from serotine.evaluation.vector_cache import VectorCache
    from serotine.evaluation.vector_store import VectorStore

_MODULES = {
    "BM25": "systems.bm25",
    "BM25Baseline": "systems.bm25",
    "CACHE_FOLDER": "runner",
    "Collection": "data.collection",
    "Comparison": "comparison.compare",
    "EvaluationOptions": "runner",
    "FittedWeights": "pooled_weights",
    "IdenticalIds": "data.identical_ids",
    "IndexSearch": "systems.index",
    "LateInteraction": "systems.late",
    "Pooled": "systems.pooled",
    "Qrels": "metrics",
    "Record": "data.records",
    "Result": "result",
    "Row": "comparison.summary",
    "Run": "metrics",
    "Source": "data.sources",
    "System": "systems.base",
    "VectorCache": "vector_cache",
    "VectorStore": "vector_store",
    "beir_texts": "data.beir",
    "compare": "comparison.compare",
    "encoder_for_collection": "systems.base",
    "evaluate": "metrics",
    "evaluate_queries": "metrics",
    "evaluate_system": "runner",
    "evaluate_systems": "runner",
    "find_sources": "data.sources",
    "find_multilingual": "data.multilingual",
    "find_suite": "data.sources",
    "fit_pooled_weights": "pooled_weights",
    "load_beir": "data.beir",
    "load_miracl": "data.miracl",
    "load_results": "comparison.compare",
    "operating_points": "report.charts",
    "randomization_test": "comparison.significance",
    "read_records": "data.records",
    "summarize": "comparison.summary",
    "validate_text": "data.records",
    "validate_unique_names": "data.sources",
    "write_report": "report.page",
}
__all__ = [
    "BM25",
    "BM25Baseline",
    "Collection",
    "Comparison",
    "EvaluationOptions",
    "FittedWeights",
    "IndexSearch",
    "LateInteraction",
    "Qrels",
    "Result",
    "Run",
    "Source",
    "VectorCache",
    "VectorStore",
    "compare",
    "evaluate",
    "evaluate_system",
    "evaluate_systems",
    "find_sources",
    "fit_pooled_weights",
    "load_beir",
    "load_miracl",
    "load_results",
    "write_report",
]


__getattr__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted(__all__)
