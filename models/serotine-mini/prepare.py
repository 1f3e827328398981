"""English questions and passages for serotine-mini from the harvested pairs.

    python models/serotine-mini/prepare.py PAIRS_FOLDER WORK_FOLDER

Passages are cut to a few sentences. Where one has enough of them, a sentence is taken out and becomes a question of its
own beside the harvested one (the inverse cloze task, Lee et al. 2019): questions that read like claims, of which the
harvest has none. One time in five the sentence stays in the passage too. All from one seed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
from pathlib import Path

# Passages taken of each source.
TAKEN = {
    "medquad": 3500,
    "debian-descriptions": 1500,
    "wordnet-glosses": 1000,
    "manpages": 300,
    "debian-reference": 200,
    "tldr": 200,
}
MOST_WORDS = 64
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
    passage = " ".join(" ".join(sentences).split()[:MOST_WORDS])
    asked = [pair["query"]] if taken is None else [pair["query"], taken]
    return [{"query": query, "positive": passage} for query in asked]


def main() -> int:
    """Writes `pairs.jsonl`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder of the harvested pairs")
    parser.add_argument("work", type=Path, help="where to write")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    made: list[dict[str, str]] = []
    for source, count in TAKEN.items():
        rng = random.Random(f"{SEED} {source}")
        found = english(arguments.pairs / f"{source}.jsonl.gz")
        rng.shuffle(found)
        rows = [{**one, "source": source} for pair in found[:count] for one in questions(pair, rng)]
        print(f"{source}: {len(rows):,} questions")
        made += rows
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    (arguments.work / "pairs.jsonl").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
