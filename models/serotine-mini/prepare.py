"""English questions and passages for serotine-mini from the harvested pairs.

    python models/serotine-mini/prepare.py PAIRS_FOLDER WORK_FOLDER

Passages are cut: the first of each source to a few sentences, others to about twice that from any sentence on. Where
one has enough of them, sentences are taken out and become questions of their own beside the harvested one (the inverse
cloze task, Lee et al. 2019): questions that read like claims, of which the harvest has none. One time in five the
sentence stays in the passage too. All from one seed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
from pathlib import Path

# Passages taken of each source: short ones, and after them long ones.
TAKEN = {
    "medquad": (3500, 2600),
    "debian-descriptions": (1500, 900),
    "wordnet-glosses": (1000, 1500),
    "manpages": (300, 500),
    "debian-reference": (200, 200),
    "tldr": (200, 0),
}
SHORT, LONG = 64, 128
"""Most words of a passage."""
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SEED = 7


def english(file: Path) -> list[dict[str, str]]:
    """The English pairs of a source, each passage once."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    found: dict[str, dict[str, str]] = {}
    for record in records:
        passage = " ".join(record["positive"].split())
        if record["lang"] == record["doc_lang"] == "en" and len(passage.split()) >= 5 and record["query"].strip():
            found.setdefault(passage, {"query": record["query"].strip(), "positive": passage})
    return list(found.values())


def questions(pair: dict[str, str], rng: random.Random) -> list[dict[str, str]]:
    """The harvested question and, where there is one, a sentence of the passage; both with what is left of it."""
    sentences = SENTENCE.split(pair["positive"])
    fit = [i for i, one in enumerate(sentences[:6]) if 8 <= len(one.split()) <= 30]
    taken = None
    if len(sentences) >= 4 and fit:
        place = rng.choice(fit)
        taken = sentences[place]
        if rng.random() >= 0.2:
            sentences = sentences[:place] + sentences[place + 1 :]
    passage = " ".join(" ".join(sentences).split()[:SHORT])
    asked = [pair["query"]] if taken is None else [pair["query"], taken]
    return [{"query": query, "positive": passage} for query in asked]


def long_questions(pair: dict[str, str], rng: random.Random) -> list[dict[str, str]]:
    """The harvested question, if its passage is there from its beginning, and up to two sentences of the passage."""
    sentences = SENTENCE.split(pair["positive"])
    begin, words = 0, [len(one.split()) for one in sentences]
    if sum(words) > LONG:
        # What begins later than this is shorter than it need be.
        latest = max(i for i in range(len(words)) if i == 0 or sum(words[i:]) >= LONG)
        begin = rng.randint(0, latest) if rng.random() >= 0.4 else 0
    end, count = begin, 0
    while end < len(sentences) and count < LONG:
        count += words[end]
        end += 1
    fit = [i for i in range(begin, end) if 8 <= words[i] <= 30]
    taken = rng.sample(fit, min(2, len(fit))) if end - begin >= 5 else []
    gone = {place for place in taken if rng.random() >= 0.2}
    left = [sentences[i] for i in range(begin, end) if i not in gone]
    passage = " ".join(" ".join(left).split()[:LONG])
    asked = [sentences[place] for place in taken]
    if begin == 0 or not asked:
        asked.append(pair["query"])
    return [{"query": query, "positive": passage} for query in asked]


def main() -> int:
    """Writes `pairs.jsonl`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder of the harvested pairs")
    parser.add_argument("work", type=Path, help="where to write")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    made: list[dict[str, str]] = []
    for source, (short, long) in TAKEN.items():
        rng = random.Random(f"{SEED} {source}")
        found = english(arguments.pairs / f"{source}.jsonl.gz")
        rng.shuffle(found)
        rows = [{**one, "source": source} for pair in found[:short] for one in questions(pair, rng)]
        rows += [{**one, "source": source} for pair in found[short : short + long] for one in long_questions(pair, rng)]
        print(f"{source}: {len(rows):,} questions")
        made += rows
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    (arguments.work / "pairs.jsonl").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
