"""English pairs for serotine-mini from the harvested sources: pairs, and sentences taken out of passages.

    python models/serotine-mini/prepare.py PAIRS_FOLDER WORK_FOLDER

`pairs.jsonl` has the questions as they were harvested. In `sentences.jsonl` a sentence of a passage is the question and
the rest of the passage the positive (the inverse cloze task, Lee et al. 2019): questions that read like claims, of
which the harvest has none. Both from one seed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
from pathlib import Path

# Source: pairs taken, sentences taken.
TAKEN = {
    "medquad": (5000, 4000),
    "debian-descriptions": (3000, 2000),
    "wordnet-glosses": (2500, 0),
    "manpages": (700, 500),
    "tldr": (600, 0),
    "debian-reference": (300, 200),
}
MOST_WORDS = 160
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SEED = 7


def passages(file: Path) -> list[dict[str, str]]:
    """The English pairs of a source, passages cut to what training sees."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    found = []
    for record in records:
        words = record["positive"].split()
        if record["lang"] == record["doc_lang"] == "en" and len(words) >= 5 and record["query"].strip():
            found.append({"query": record["query"].strip(), "positive": " ".join(words[:MOST_WORDS])})
    return found


def sentence_of(passage: str, rng: random.Random) -> dict[str, str] | None:
    """One sentence of a passage as a question; one time in five it stays in the passage too, so that words count."""
    sentences = SENTENCE.split(passage)
    fit = [i for i, one in enumerate(sentences[:-1]) if 8 <= len(one.split()) <= 30]
    if len(sentences) < 4 or not fit:
        return None
    place = rng.choice(fit)
    kept = sentences if rng.random() < 0.2 else sentences[:place] + sentences[place + 1 :]
    return {"query": sentences[place], "positive": " ".join(kept)}


def main() -> int:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder of the harvested pairs")
    parser.add_argument("work", type=Path, help="where to write")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    pairs: list[dict[str, str]] = []
    sentences: list[dict[str, str]] = []
    for source, (asked, cut) in TAKEN.items():
        rng = random.Random(f"{SEED} {source}")
        found = passages(arguments.pairs / f"{source}.jsonl.gz")
        rng.shuffle(found)
        pairs += [{**one, "source": source} for one in found[:asked]]
        made = (sentence_of(one["positive"], rng) for one in found[asked:] + found[:asked])
        sentences += [{**one, "source": source} for _, one in zip(range(cut), filter(None, made), strict=False)]
    for name, rows in (("pairs", pairs), ("sentences", sentences)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (arguments.work / f"{name}.jsonl").write_text(text, encoding="utf-8")
        print(f"{name}: {len(rows):,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
