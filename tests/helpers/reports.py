"""Results of two systems on a small collection, for the tests of comparisons and reports."""

from __future__ import annotations

from serotine.evaluation import Collection, Result, Run, evaluate
from serotine.evaluation.metrics import Qrels, evaluate_queries

METRICS = ("nDCG@10", "RR@10")
HOSTILE = '<script>document.title="owned"</script><img src=x onerror=alert(1)> & "quotes" \'single\''


def collection(name: str = "toy") -> Collection:
    documents = {
        "d1": "Bats hunt insects at dusk.",
        "d2": "Owls hunt mice at night.",
        "d3": f"Markup in a passage: {HOSTILE}",
        "d4": "خفاش يصطاد ليلا",
        "d5": "蝙蝠在夜间捕食。",
    }
    queries = {
        "q1": "when do bats hunt?",
        "q2": "what hunts mice?",
        "q3": f"markup {HOSTILE}",
        "q4": "خفاش",
        "q5": "owls",
    }
    qrels: Qrels = {"q1": {"d1": 2}, "q2": {"d2": 1}, "q3": {"d3": 1, "d1": 0}, "q4": {"d4": 1}, "q5": {"d2": 1}}
    return Collection(name, documents, queries, qrels)


BEFORE: Run = {
    "q1": {"d2": 2.0, "d1": 1.0},
    "q2": {"d2": 3.0, "d1": 1.0},
    "q3": {"d1": 1.0},
    "q4": {"d5": 2.0, "d4": 1.0},
    "q5": {"d2": 1.0},
}
AFTER: Run = {
    "q1": {"d1": 2.0, "d2": 1.0},
    "q2": {"d1": 3.0, "d5": 2.0, "d2": 1.0},
    "q3": {"d3": 1.0},
    "q4": {"d4": 2.0, "d5": 1.0},
    "q5": {"d2": 1.0},
}


def evaluated(system: str, run: Run, on: Collection | None = None, **record: object) -> Result:
    """Return the result of a run, as `serotine eval` evaluates it."""
    on = on or collection()
    return Result(
        system=system,
        collection=on.name,
        split="test",
        metrics=evaluate(on.qrels, run, METRICS),
        per_query=evaluate_queries(on.qrels, run, METRICS),
        run=run,
        record={"depth": 10, **record},
    )
