"""Build serotine-multi's queries and passages in some 25 languages from the harvested pairs.

    python models/serotine-multi/prepare.py PAIRS_FOLDER WORK_FOLDER

The pairs of three sources are translations of each other: a *concept* is a query and a passage in up to 35 languages.
Every example carries its English version under the key "teacher", from which an English teacher scores it:

    parallel-LANG.jsonl  query and passage in one language
    crossed.jsonl        the query in one language, the passage in another
    english.jsonl        English prose
    code.jsonl           program code, commands and manual pages, in English or, half of the commands, another language
    cloze-LANG.jsonl     long passages of one language, with one of their sentences as the query (the inverse cloze
                         task, Lee et al. 2019); they have no English version, so their teacher must read them
    dev/                 a BEIR folder of concepts that are in no other file, each with one language for the query and
                         one for the passage
    languages/QUERY-PASSAGE/
                         the same concepts by pairs of languages, for evaluate.py: de-de, de-en and en-de have the same
                         queries and passages, in German, and in English on one side
    english/SOURCE/      concepts of an English source that are in no other file, for evaluate.py

The question-answer pairs in Chinese and Arabic are not used: their passages are those of two test collections. One seed
determines the result.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 11
Pair = tuple[str, str]
"""A query and its passage."""

TRANSLATED = {"debian-descriptions": 2600, "libreoffice-help": 1700, "tldr": 1100}
"""Number of concepts of each translated source; those in many languages first."""
ENGLISH = {"medquad": 3000, "wordnet-glosses": 400}
CODE = {"python-docstrings": 4000, "manpages": 500, "debian-reference": 200}
"""Number of English passages of each other source."""
DEV_PERCENT, DEV_CONCEPTS = 8, 600
LANGUAGE_QUERIES, LANGUAGE_PASSAGES = 50, 150
"""Sizes of a folder in languages/; a language with fewer passages than queries has none."""
ENGLISH_QUERIES, ENGLISH_PASSAGES = 150, 600
"""Sizes of a folder in english/."""
MIN_PARALLEL, MIN_CLOZE, MAX_CLOZE, MAX_ENGLISH_CLOZE = 250, 80, 260, 3000
"""Number of examples that a language needs for a file of its own; longest files of the cloze task."""
RECODED = {"en-us": "en", "zh-cn": "zh", "zh-tw": "zht", "pt-br": "pt", "pt-pt": "pt"}
DENSE = {"ja", "ko", "lo", "th", "zh", "zht"}
"""Languages of which a character says about as much as two or three of the others."""
CLOZE_CHARACTERS = (250, 500, 900, 1600)
"""Lengths of long passages: some 64 to 400 tokens."""
SENTENCE_END = re.compile(r"(?<=[.!?।؟])\s+(?=\S)|(?<=[。！？])\s*(?=\S)|\n+")  # noqa: RUF001


@dataclass(frozen=True)
class Concept:
    """One query with its passage, in every language that has both.

    Attributes:
        source: name of the harvested file.
        document: what the passage is part of: a package, a page, a command.
        versions: pairs by language; always one in English.
    """

    source: str
    document: str
    versions: dict[str, Pair]

    @property
    def held_back(self) -> bool:
        """Whether its document is for development: a share of the documents, by their name."""
        return zlib.crc32(f"{self.source} {self.document}".encode()) % 100 < DEV_PERCENT


def language(code: str) -> str:
    """Return a language code as used here: Portuguese is one, simplified and traditional Chinese are two."""
    plain = code.lower().replace("_", "-")
    return RECODED.get(plain, plain)


def records(pairs: Path, source: str) -> Iterator[dict[str, str]]:
    """Yield the records of a harvested file, texts with single spaces."""
    with gzip.open(pairs / f"{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            yield record | {key: " ".join(record[key].split()) for key in ("query", "positive")}


def untranslated(text: str, english: str) -> bool:
    """Return whether a text is largely the English one, as parts of the translated sources are."""
    latin = re.compile(r"[A-Za-z]{3,}")
    shared = set(latin.findall(text)) & set(latin.findall(english))
    return len(shared) >= 0.5 * max(1, len(set(re.findall(r"[^\W\d]{2,}", text))))


def translated_concepts(pairs: Path, source: str) -> list[Concept]:
    """Return the concepts of a translated source.

    The pairs of a document have no number: the nth in one language is the nth in another if both have as many.
    """
    documents: dict[str, dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for record in records(pairs, source):
        if language(record["lang"]) == language(record["doc_lang"]):
            documents[record["id"]][language(record["lang"])].append((record["query"], record["positive"]))
    concepts = []
    for name, by_language in documents.items():
        count = len(by_language.get("en", ()))
        for number in range(count):
            english = by_language["en"][number]
            versions = {
                code: listed[number]
                for code, listed in by_language.items()
                if len(listed) == count
                and len(listed[number][0]) >= 6
                and len(listed[number][1]) >= 40
                and (code == "en" or not untranslated(listed[number][1], english[1]))
            }
            # tldr's pages of aliases all have this one query.
            if "en" in versions and not english[0].startswith("View documentation for the original"):
                concepts.append(Concept(source, name.partition("#")[0], versions))
    return concepts


def english_concepts(pairs: Path, source: str) -> list[Concept]:
    """Return one concept per English passage of a source."""
    concepts: dict[str, Concept] = {}
    for record in records(pairs, source):
        passage = record["positive"]
        codes = {language(record["lang"]), language(record["doc_lang"])}
        if codes <= {"en", "python"} and len(passage) >= 40 and record["query"]:
            concepts.setdefault(passage, Concept(source, record["id"], {"en": (record["query"][:300], passage)}))
    return list(concepts.values())


def with_sentence_as_query(concept: Concept, rng: random.Random) -> Concept:
    """Return a concept whose query is, in nearly half of the cases, a sentence of its passage, in every language.

    Most of the time the sentence leaves the passage. Only versions with as many sentences as the English one remain.
    """
    sentences = {code: SENTENCE_END.split(pair[1]) for code, pair in concept.versions.items()}
    count = len(sentences["en"])
    candidates = [i for i in range(count) if 30 <= len(sentences["en"][i]) <= 250]
    if count < 4 or not candidates or rng.random() >= 0.45:
        return concept
    chosen, removed = rng.choice(candidates), rng.random() < 0.85
    versions = {
        code: (listed[chosen], " ".join(listed[:chosen] + listed[chosen + 1 :] if removed else listed))
        for code, listed in sentences.items()
        if len(listed) == count and len(listed[chosen]) >= 8
    }
    return Concept(concept.source, concept.document, versions)


def example(concept: Concept, query_language: str, passage_language: str) -> dict[str, Any]:
    """Return a training record; without the teacher's texts where they would be the same."""
    record: dict[str, Any] = {
        "query": concept.versions[query_language][0],
        "positive": concept.versions[passage_language][1],
        "lang": query_language,
        "doc_lang": passage_language,
        "source": concept.source,
    }
    if (query_language, passage_language) != ("en", "en"):
        query, passage = concept.versions["en"]
        record["teacher"] = {"query": query, "positive": passage}
    return record


def rare_first(concept: Concept, frequencies: Counter[str], rng: random.Random) -> str:
    """Return a random language of a concept; rare ones are as likely as their number to the power -1/2."""
    codes = list(concept.versions)
    return rng.choices(codes, [max(frequencies[code], 1) ** -0.5 for code in codes])[0]


def cloze_examples(concepts: list[Concept], rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Return, by language, long passages of one document each, with one of their sentences as the query."""
    documents: dict[tuple[str, str], list[str]] = defaultdict(list)
    for concept in concepts:
        for code, (_, passage) in concept.versions.items():
            if concept.source not in ("tldr", *CODE):
                documents[code, f"{concept.source} {concept.document}"].append(passage)
    order = sorted(documents)
    rng.shuffle(order)
    examples: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for code, document in order:
        scale = 0.45 if code in DENSE else 1.0
        texts = dict.fromkeys(documents[code, document])
        sentences = list(dict.fromkeys(part for text in texts for part in SENTENCE_END.split(text)))
        limit = MAX_ENGLISH_CLOZE if code == "en" else MAX_CLOZE
        if len(examples[code]) >= limit or len(sentences) < 4 or sum(map(len, sentences)) < 200 * scale:
            continue
        target = rng.choice(CLOZE_CHARACTERS) * scale
        start = rng.randrange(max(1, len(sentences) - 4))
        stop = start
        while stop < len(sentences) and sum(map(len, sentences[start:stop])) < target:
            stop += 1
        window = sentences[start:stop]
        candidates = [i for i, text in enumerate(window) if 25 * scale <= len(text) <= 220 * scale]
        if len(window) < 4 or not candidates:
            continue
        chosen = rng.choice(candidates)
        rest = window[:chosen] + window[chosen + 1 :] if rng.random() < 0.85 else window
        query = window[chosen]
        if code not in DENSE and rng.random() < 0.3:
            # Queries are often a few words.
            words = query.split()
            first = rng.randrange(max(1, len(words) - 6))
            query = " ".join(words[first : first + rng.randint(4, 9)])
        examples[code].append({"query": query, "positive": " ".join(rest), "lang": code, "doc_lang": code})
    return {code: listed for code, listed in examples.items() if len(listed) >= MIN_CLOZE}


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON Lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_dev(folder: Path, concepts: list[Concept], frequencies: Counter[str], rng: random.Random) -> None:
    """Write the BEIR folder: one concept per document, the passage in the query's language every second time."""
    chosen = list({concept.document: concept for concept in concepts}.values())
    rng.shuffle(chosen)
    corpus, queries, judgements = [], [], ["query-id\tcorpus-id\tscore"]
    for number, concept in enumerate(chosen[:DEV_CONCEPTS]):
        query_language = rare_first(concept, frequencies, rng)
        passage_language = query_language if number % 2 else rare_first(concept, frequencies, rng)
        corpus.append({"_id": f"d{number}", "text": concept.versions[passage_language][1], "lang": passage_language})
        queries.append({"_id": f"q{number}", "text": concept.versions[query_language][0], "lang": query_language})
        judgements.append(f"q{number}\td{number}\t1")
    write_beir(folder, corpus, queries, judgements)


def write_languages(folder: Path, concepts: list[Concept], rng: random.Random) -> None:
    """Write one BEIR folder per language, and two with English on one side: one concept per document."""
    chosen = list({concept.document: concept for concept in concepts}.values())
    rng.shuffle(chosen)
    for code in sorted({code for concept in chosen for code in concept.versions}):
        listed = [concept.versions for concept in chosen if code in concept.versions][:LANGUAGE_PASSAGES]
        if len(listed) < LANGUAGE_QUERIES:
            continue
        for asked, read in dict.fromkeys([(code, code), (code, "en"), ("en", code)]):
            corpus = [{"_id": f"d{i}", "text": versions[read][1], "lang": read} for i, versions in enumerate(listed)]
            queries = [
                {"_id": f"q{i}", "text": versions[asked][0], "lang": asked}
                for i, versions in enumerate(listed[:LANGUAGE_QUERIES])
            ]
            judgements = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(len(queries)))]
            write_beir(folder / f"{asked}-{read}", corpus, queries, judgements)


def write_english(folder: Path, concepts: list[Concept], rng: random.Random) -> None:
    """Write one BEIR folder per English source."""
    for source in ("medquad", *CODE):
        listed = [concept.versions["en"] for concept in concepts if concept.source == source]
        rng.shuffle(listed)
        passages = list(dict.fromkeys(passage for _, passage in listed))[:ENGLISH_PASSAGES]
        numbers = {passage: number for number, passage in enumerate(passages)}
        asked = [(query, numbers[passage]) for query, passage in listed if passage in numbers][:ENGLISH_QUERIES]
        corpus = [{"_id": f"d{number}", "text": passage, "lang": "en"} for passage, number in numbers.items()]
        queries = [{"_id": f"q{number}", "text": query, "lang": "en"} for number, (query, _) in enumerate(asked)]
        judgements = [f"q{number}\td{document}\t1" for number, (_, document) in enumerate(asked)]
        write_beir(folder / source, corpus, queries, ["query-id\tcorpus-id\tscore", *judgements])


def write_beir(
    folder: Path, corpus: list[dict[str, Any]], queries: list[dict[str, Any]], judgements: list[str]
) -> None:
    """Write a BEIR folder with the split "dev"."""
    write(folder / "corpus.jsonl", corpus)
    write(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels/dev.tsv").write_text("\n".join(judgements) + "\n", encoding="utf-8")


def choose(concepts: list[Concept], count: int, rng: random.Random) -> list[Concept]:
    """Return concepts for training; those in many languages are more likely."""
    training = [concept for concept in concepts if not concept.held_back]
    weights = [-min(len(concept.versions), 8) - 6 * rng.random() for concept in training]
    order = sorted(range(len(training)), key=weights.__getitem__)
    return [with_sentence_as_query(training[i], rng) for i in order[:count]]


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder of the harvested pairs")
    parser.add_argument("work", type=Path, help="output folder")
    arguments = parser.parse_args()
    pairs, work = arguments.pairs, arguments.work
    rng = random.Random(SEED)
    harvested = {source: translated_concepts(pairs, source) for source in TRANSLATED}
    alone = {source: english_concepts(pairs, source) for source in ENGLISH | CODE}
    chosen = {source: choose(harvested[source], count, rng) for source, count in TRANSLATED.items()}
    others = {source: choose(alone[source], count, rng) for source, count in (ENGLISH | CODE).items()}
    concepts = [concept for source in TRANSLATED for concept in chosen[source]]
    frequencies = Counter(code for concept in concepts for code in concept.versions)
    files: dict[str, list[dict[str, Any]]] = {}
    for code, count in frequencies.items():
        if code != "en" and count >= MIN_PARALLEL:
            files[f"parallel-{code}"] = [example(c, code, code) for c in concepts if code in c.versions]
    files["crossed"] = [
        example(concept, rare_first(concept, frequencies, rng), rare_first(concept, frequencies, rng))
        for concept in concepts
        for _ in range(2)
        if len(concept.versions) > 2
    ]
    prose = [*chosen["debian-descriptions"], *chosen["libreoffice-help"]]
    files["english"] = [example(c, "en", "en") for c in [*prose, *(c for s in ENGLISH for c in others[s])]]
    code = [example(concept, "en", "en") for source in CODE for concept in others[source]]
    for concept in chosen["tldr"]:
        codes = ["en" if rng.random() < 0.5 else rare_first(concept, frequencies, rng) for _ in range(2)]
        code.append(example(concept, *codes))
    files["code"] = code
    translated = [concept for listed in harvested.values() for concept in listed]
    english = [concept for listed in alone.values() for concept in listed]
    training = [concept for concept in [*translated, *english] if not concept.held_back]
    files |= {f"cloze-{code}": rows for code, rows in cloze_examples(training, rng).items()}
    for name, rows in sorted(files.items()):
        write(work / f"{name}.jsonl", rows)
        print(f"{name}: {len(rows):,} examples")
    held_back = [concept for concept in translated if concept.held_back]
    write_dev(work / "dev", [concept for concept in held_back if len(concept.versions) >= 4], frequencies, rng)
    write_languages(work / "languages", held_back, rng)
    write_english(work / "english", [concept for concept in english if concept.held_back], rng)
    return 0


if __name__ == "__main__":
    sys.exit(main())
