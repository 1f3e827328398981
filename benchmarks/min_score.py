"""Measure which `min_score` separates queries that a collection answers from queries that it does not.

    python benchmarks/min_score.py COLLECTIONS [--encoder mini] [--documents 1500]

COLLECTIONS holds the BEIR folders scifact, medline and time; Cranfield is in examples/. Each is indexed (of larger
ones, the judged documents and the first others) and searched with its own queries, with those of the other three, with
two keywords and with one word of each, and with random letters. Off-topic keywords and words occur nowhere in the
collection. With ``--encoder multi``, COLLECTIONS holds arcd-ar, cmrc-zh and piaf-fr too. Each is cut into two by the
titles of its documents, so that the questions of one half are off-topic for the other in the same language, and
questions in the other languages are a kind of their own. The figure is the `score_per_token` of the best hit. A
threshold is chosen on half of the collections, at the least sum of queries refused and accepted wrongly, and judged on
the others. Needs the extra [eval]. Writes benchmarks/results/min_score.json, or min_score_multi.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import string
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serotine import Encoder, Index
from serotine.bench import describe_machine
from serotine.evaluation import Collection, load_beir

RESULTS = {
    "serotine-mini": Path(__file__).parent / "results/min_score.json",
    "serotine-multi": Path(__file__).parent / "results/min_score_multi.json",
}
CRANFIELD = Path(__file__).parents[1] / "examples/cranfield"
ENGLISH = (("time", "medline"), ("cranfield", "scifact"))
HALVED = ("arcd-ar", "cmrc-zh", "piaf-fr")
ON_TOPIC = ("on-topic", "on-topic keywords", "on-topic word")
OFF_TOPIC = ("off-topic", "off-topic keywords", "off-topic word", "other languages", "random letters")
QUERIES, DEPTH, SEED = 100, 10, 0
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
THRESHOLDS = tuple(round(0.40 + 0.01 * step, 2) for step in range(56))
# Those that are reported; scores of serotine-multi are within a few hundredths.
REPORTED = {"serotine-mini": THRESHOLDS[:51:5], "serotine-multi": THRESHOLDS[42:]}
NONSENSE = "zzxqy qwrtplk"


@dataclass
class Subject:
    """A collection, or a half of one, cut to some of its documents, and its queries."""

    name: str
    language: str
    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, set[str]]
    frequencies: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, collection: Collection, name: str, limit: int) -> Subject:
        """Select documents and queries: the judged documents first, queries with a relevant document only."""
        relevant = {
            query: {document for document, grade in grades.items() if grade > 0 and document in collection.documents}
            for query, grades in collection.qrels.items()
        }
        answered = sorted(query for query, documents in relevant.items() if documents)
        chosen = sorted(random.Random(SEED).sample(answered, min(QUERIES, len(answered))))
        judged = dict.fromkeys(document for query in chosen for document in sorted(relevant[query]))
        ids = list(judged | dict.fromkeys(collection.documents))[: max(limit, len(judged))]
        subject = cls(
            name,
            name.partition("/")[0].partition("-")[2] or "en",
            {id_: collection.documents[id_] for id_ in ids},
            {query: collection.queries[query] for query in chosen},
            {query: relevant[query] for query in chosen},
        )
        for text in subject.documents.values():
            subject.frequencies.update(set(words(text)))
        return subject

    def keywords(self, query: str, count: int) -> str | None:
        """Return the rarest words of a query that at least two documents have."""
        known = [word for word in dict.fromkeys(words(query)) if self.frequencies[word] >= 2]
        rarest = sorted(known, key=lambda word: self.frequencies[word])[:count]
        return " ".join(word for word in known if word in rarest) if len(rarest) == count else None

    def lacks(self, query: str) -> bool:
        """Return whether no document has a word of the query."""
        return not any(self.frequencies[word] for word in words(query))


def words(text: str) -> list[str]:
    """Return the lower-case words of a text."""
    return re.findall(r"\w+", text.lower())


def random_letters() -> list[str]:
    """Return queries of one to six strings of random letters."""
    rng = random.Random(SEED)
    lengths = [[rng.randint(4, 9) for _ in range(rng.randint(1, 6))] for _ in range(QUERIES - 1)]
    return [NONSENSE, *(" ".join("".join(rng.choices(string.ascii_lowercase, k=k)) for k in row) for row in lengths)]


def queries_for(subject: Subject, others: Sequence[Subject]) -> dict[str, list[str]]:
    """Return the queries of every kind for one collection."""
    alike = [other for other in others if other.language == subject.language]
    own = {count: [subject.keywords(query, count) for query in subject.queries.values()] for count in (2, 1)}
    foreign = {count: [other.keywords(q, count) for other in alike for q in other.queries.values()] for count in (2, 1)}
    unlike = [query for other in others if other not in alike for query in other.queries.values()]
    return {
        "on-topic": list(subject.queries.values()),
        "on-topic keywords": [query for query in own[2] if query],
        "on-topic word": [query for query in own[1] if query],
        "off-topic": [query for other in alike for query in other.queries.values()],
        "off-topic keywords": [query for query in foreign[2] if query and subject.lacks(query)],
        "off-topic word": list(dict.fromkeys(query for query in foreign[1] if query and subject.lacks(query))),
        "other languages": sorted(random.Random(SEED).sample(unlike, min(2 * QUERIES, len(unlike)))),
        "random letters": random_letters(),
    }


def measure(subject: Subject, others: Sequence[Subject], encoder: Encoder) -> dict[str, Any]:
    """Return the score of every query's best hit by kind, also without special tokens, and of the relevant hits."""
    scores: dict[str, list[float]] = {}
    text_only: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "index", encoder=encoder) as index:
        index.add(list(subject.documents), list(subject.documents.values()))
        for kind, queries in queries_for(subject, others).items():
            if not queries:
                continue
            best = [hits[0] for hits in index.search_batch(queries, 1, exact=True)]
            scores[kind] = [hit.score_per_token or 0.0 for hit in best]
            text_only[kind] = [
                text_tokens_score(index, encoder, query, hit.id) for query, hit in zip(queries, best, strict=True)
            ]
        results = index.search_batch(list(subject.queries.values()), DEPTH, exact=True)
        found = [
            hit.score_per_token or 0.0
            for query, hits in zip(subject.queries, results, strict=True)
            for hit in hits
            if hit.id in subject.relevant[query]
        ]
    return {"scores": scores, "text tokens": text_only, "relevant": found, "documents": len(subject.documents)}


def text_tokens_score(index: Index, encoder: Encoder, query: str, id_: str) -> float:
    """Return the mean similarity of the query's own tokens, without special ones."""
    (vectors,) = encoder.encode_queries([query])
    inside = np.array([token.end > token.start for token in encoder.tokens(query, query=True)])
    similarities = (vectors @ index.vectors(id_).astype(np.float32).T).max(axis=1)
    return float(similarities[inside].mean()) if inside.any() else 0.0


def pooled(measured: dict[str, Any], names: Iterable[str], kind: str, key: str = "scores") -> list[float]:
    """Return the scores of one kind in some collections."""
    return [score for name in names for score in measured[name][key].get(kind, ())]


def kinds(measured: dict[str, Any], names: Iterable[str]) -> list[str]:
    """Return the kinds of queries that there are for some collections."""
    return [kind for kind in (*ON_TOPIC, *OFF_TOPIC) if pooled(measured, names, kind)]


def rates(measured: dict[str, Any], names: Sequence[str], threshold: float) -> dict[str, float]:
    """Return the shares of queries decided wrongly, and of relevant hits left out, at a threshold."""
    shares = {}
    for kind in kinds(measured, names):
        below = float(np.mean(np.array(pooled(measured, names, kind)) < threshold))
        shares[kind] = round(below if kind in ON_TOPIC else 1 - below, 4)
    relevant = [score for name in names for score in measured[name]["relevant"]]
    shares["relevant hits left out"] = round(float(np.mean(np.array(relevant) < threshold)), 4)
    return shares


def best_threshold(measured: dict[str, Any], names: Sequence[str]) -> float:
    """Return the threshold with the least sum of refused on-topic and accepted off-topic queries."""
    return min(
        THRESHOLDS,
        key=lambda threshold: sum(rates(measured, names, threshold)[kind] for kind in ("on-topic", "off-topic")),
    )


def area(positive: list[float], negative: list[float]) -> float:
    """Return the probability that a score of the first exceeds one of the second."""
    high, low = np.array(positive)[:, None], np.array(negative)[None]
    return round(float(np.mean((high > low) + 0.5 * (high == low))), 4)


def halves(folder: Path) -> Iterator[tuple[str, Collection]]:
    """Yield the two halves of a collection by the titles of its documents, with their names."""
    collection = load_beir(folder)
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        titles = {record["_id"]: record["title"] for record in map(json.loads, lines)}
    for number, suffix in enumerate("ab"):
        # crc32 is the same on every machine.
        ids = [id_ for id_ in collection.documents if zlib.crc32(titles[id_].encode()) % 2 == number]
        documents = {id_: collection.documents[id_] for id_ in ids}
        yield f"{folder.name}/{suffix}", replace(collection, documents=documents)


def subjects_of(folder: Path, limit: int, *, multilingual: bool) -> tuple[list[Subject], list[tuple[str, ...]]]:
    """Return the collections, and the names of those that a threshold is chosen on and judged on."""
    names = [name for pair in ENGLISH for name in pair]
    folders = {name: CRANFIELD if name == "cranfield" else folder / name for name in names}
    subjects = [Subject.of(load_beir(path), name, limit) for name, path in folders.items()]
    if not multilingual:
        return subjects, list(ENGLISH)
    for name in HALVED:
        subjects += [Subject.of(half, half_name, limit) for half_name, half in halves(folder / name)]
    return subjects, [tuple(names), tuple(subject.name for subject in subjects[len(names) :])]


def main() -> None:
    """Measure every collection and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", type=Path)
    parser.add_argument("--encoder", default="mini", choices=("mini", "multi"))
    parser.add_argument("--documents", type=int, default=1500)
    arguments = parser.parse_args()
    encoder = Encoder(arguments.encoder)
    subjects, groups = subjects_of(
        arguments.collections, arguments.documents, multilingual=arguments.encoder == "multi"
    )
    names = [subject.name for subject in subjects]
    measured: dict[str, Any] = {}
    for subject in subjects:
        measured[subject.name] = measure(subject, [other for other in subjects if other is not subject], encoder)
        counts = {kind: len(values) for kind, values in measured[subject.name]["scores"].items()}
        print(subject.name, counts, flush=True)
    measured_kinds = kinds(measured, names)
    languages = list(dict.fromkeys(subject.language for subject in subjects))
    by_language = {
        language: [subject.name for subject in subjects if subject.language == language] for language in languages
    }
    reported = REPORTED[encoder.name]
    judged = []
    for chosen_on, judged_on in (groups, groups[::-1]):
        threshold = best_threshold(measured, chosen_on)
        judged.append(
            {
                "chosen on": chosen_on,
                "threshold": threshold,
                "judged on": judged_on,
                "rates": rates(measured, judged_on, threshold),
            }
        )
    result = {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "machine": describe_machine(("serotine", "numpy", "onnxruntime")),
        "documents": {name: measured[name]["documents"] for name in names},
        "queries": {name: {kind: len(values) for kind, values in measured[name]["scores"].items()} for name in names},
        "percentiles": {
            kind: {
                name: [round(float(value), 3) for value in np.percentile(scores, PERCENTILES)]
                for name, members in (*((name, (name,)) for name in names), ("all", names))
                if (scores := pooled(measured, members, kind))
            }
            for kind in measured_kinds
        },
        "percentiles of": PERCENTILES,
        NONSENSE: {name: round(measured[name]["scores"]["random letters"][0], 3) for name in names},
        "area under the curve": {
            key: {
                kind: area(
                    pooled(measured, names, "on-topic word" if kind == "off-topic word" else "on-topic", key),
                    pooled(measured, names, kind, key),
                )
                for kind in measured_kinds
                if kind in OFF_TOPIC
            }
            for key in ("scores", "text tokens")
        },
        "thresholds": {f"{threshold:.2f}": rates(measured, names, threshold) for threshold in reported},
        "by language": {
            language: {f"{threshold:.2f}": rates(measured, members, threshold) for threshold in reported}
            for language, members in by_language.items()
        },
        "by collection": {name: rates(measured, (name,), 0.6) for name in names},
        "judged": judged,
    }
    RESULTS[encoder.name].write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
