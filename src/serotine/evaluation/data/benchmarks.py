"""The rules of published benchmarks: collections, splits, query lengths, and documents with a query's id.

BEIR: Thakur et al. 2021, https://github.com/beir-cellar/beir. MIRACL: Zhang et al. 2023, https://project-miracl.github.io.
"""

from __future__ import annotations

import re

BEIR15 = (
    "arguana",
    "climate-fever",
    "cqadupstack",
    "dbpedia-entity",
    "fever",
    "fiqa",
    "hotpotqa",
    "msmarco",
    "nfcorpus",
    "nq",
    "quora",
    "scidocs",
    "scifact",
    "trec-covid",
    "webis-touche2020",
)
FORUMS = (
    "android",
    "english",
    "gaming",
    "gis",
    "mathematica",
    "physics",
    "programmers",
    "stats",
    "tex",
    "unix",
    "webmasters",
    "wordpress",
)
"""The forums of CQADupStack, whose figure is their unweighted mean."""
MIRACL18 = ("ar", "bn", "de", "en", "es", "fa", "fi", "fr", "hi", "id", "ja", "ko", "ru", "sw", "te", "th", "yo", "zh")

_OTHER_NAMES = {
    "dbpedia": "dbpedia-entity",
    "fiqa-2018": "fiqa",
    "ms-marco": "msmarco",
    "touche-2020": "webis-touche2020",
    "touche2020": "webis-touche2020",
    "webis-touche2020-v1": "webis-touche2020",
}
# From PyLate's BEIR script; 32 for the others.
_QUERY_LENGTHS = {"arguana": 64, "climate-fever": 64, "scifact": 48, "trec-covid": 48, "scidocs": 48}
_QUERY_LENGTH = 32
# Where MTEB drops the document that has the query's id. BEIR's own evaluation does so everywhere.
_MTEB_IDENTICAL = re.compile(r"arguana|fever|fiqa|msmarco|quora|trec-dl.*")


def beir_name(name: str) -> str | None:
    """Return BEIR's name of a BEIR-15 collection, "cqadupstack-<forum>" for a forum; None for any other collection."""
    lower = name.lower().replace("_", "-")
    lower = _OTHER_NAMES.get(lower, lower)
    forum = lower.removeprefix("cqadupstack-")
    if lower in BEIR15 or (forum != lower and forum in FORUMS):
        return lower
    return None


def default_split(name: str, benchmark: str | None) -> str:
    """Return the split of published figures."""
    return "dev" if benchmark == "miracl" or beir_name(name) == "msmarco" else "test"


def query_length(name: str, benchmark: str | None) -> int | None:
    """Return the query length of published figures of late-interaction models; None for the model's own."""
    return _QUERY_LENGTHS.get(beir_name(name) or "", _QUERY_LENGTH) if benchmark == "beir" else None


def mteb_drops_identical(name: str) -> bool:
    """Return whether MTEB drops the document that has the query's id."""
    return _MTEB_IDENTICAL.fullmatch(beir_name(name) or name.lower().replace("_", "-")) is not None
