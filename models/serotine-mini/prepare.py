"""Build serotine-mini's English queries and passages from the harvested pairs.

    python models/serotine-mini/prepare.py PAIRS_FOLDER WORK_FOLDER

Passages are cut: the first ones of each source to a few sentences, later ones to about twice that from a random
sentence on. From passages with enough sentences, some are removed and become queries beside the harvested one (the
inverse cloze task, Lee et al. 2019): queries that read like claims, of which the harvest has none. One time in five the
sentence stays in the passage too. One seed determines the result.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
from pathlib import Path

PASSAGES = {
    "medquad": (3500, 2600),
    "debian-descriptions": (1500, 900),
    "wordnet-glosses": (1000, 1500),
    "manpages": (300, 500),
    "debian-reference": (200, 200),
    "tldr": (200, 0),
}
"""Number of short passages of each source, and of long ones."""
SHORT, LONG = 64, 128
"""Maximum number of words in a passage."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SEED = 7


def english_pairs(file: Path) -> list[dict[str, str]]:
    """Return the English pairs of a source, one per passage."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    pairs: dict[str, dict[str, str]] = {}
    for record in records:
        passage = " ".join(record["positive"].split())
        if record["lang"] == record["doc_lang"] == "en" and len(passage.split()) >= 5 and record["query"].strip():
            pairs.setdefault(passage, {"query": record["query"].strip(), "positive": passage})
    return list(pairs.values())


def short_examples(pair: dict[str, str], rng: random.Random) -> list[dict[str, str]]:
    """Return the harvested query and, if possible, a sentence of the passage, both with the rest of the passage."""
    sentences = SENTENCE_END.split(pair["positive"])
    candidates = [i for i, sentence in enumerate(sentences[:6]) if 8 <= len(sentence.split()) <= 30]
    queries = [pair["query"]]
    if len(sentences) >= 4 and candidates:
        position = rng.choice(candidates)
        queries.append(sentences[position])
        if rng.random() >= 0.2:
            sentences = sentences[:position] + sentences[position + 1 :]
    passage = " ".join(" ".join(sentences).split()[:SHORT])
    return [{"query": query, "positive": passage} for query in queries]


def long_examples(pair: dict[str, str], rng: random.Random) -> list[dict[str, str]]:
    """Return up to two sentences of a passage, and the harvested query if the passage is not cut at its start."""
    sentences = SENTENCE_END.split(pair["positive"])
    start, lengths = 0, [len(sentence.split()) for sentence in sentences]
    if sum(lengths) > LONG:
        # A later start would leave fewer words than fit.
        latest = max(i for i in range(len(lengths)) if i == 0 or sum(lengths[i:]) >= LONG)
        start = rng.randint(0, latest) if rng.random() >= 0.4 else 0
    stop, count = start, 0
    while stop < len(sentences) and count < LONG:
        count += lengths[stop]
        stop += 1
    candidates = [i for i in range(start, stop) if 8 <= lengths[i] <= 30]
    chosen = rng.sample(candidates, min(2, len(candidates))) if stop - start >= 5 else []
    removed = {position for position in chosen if rng.random() >= 0.2}
    remaining = [sentences[i] for i in range(start, stop) if i not in removed]
    passage = " ".join(" ".join(remaining).split()[:LONG])
    queries = [sentences[position] for position in chosen]
    if start == 0 or not queries:
        queries.append(pair["query"])
    return [{"query": query, "positive": passage} for query in queries]


def main() -> int:
    """Write `pairs.jsonl`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder of the harvested pairs")
    parser.add_argument("work", type=Path, help="output folder")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    examples: list[dict[str, str]] = []
    for source, (short, long) in PASSAGES.items():
        rng = random.Random(f"{SEED} {source}")
        pairs = english_pairs(arguments.pairs / f"{source}.jsonl.gz")
        rng.shuffle(pairs)
        of_source = [example for pair in pairs[:short] for example in short_examples(pair, rng)]
        of_source += [example for pair in pairs[short : short + long] for example in long_examples(pair, rng)]
        print(f"{source}: {len(of_source):,} queries")
        examples += [{**example, "source": source} for example in of_source]
    text = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
    (arguments.work / "pairs.jsonl").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
