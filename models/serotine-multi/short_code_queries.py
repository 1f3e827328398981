"""Build the code examples of refine.yaml: half of the queries for functions are short, as people search the web.

    python models/serotine-multi/short_code_queries.py PAIRS_FOLDER WORK_FOLDER

WORK_FOLDER is the one that prepare.py wrote. Writes short-code.jsonl there: Python functions with the whole docstring
as the query, or with up to ten words of its first sentence in lower case, without punctuation, half of these after the
word "python"; and the English commands of code.jsonl. Passages that share a run of eight words with a text of english/,
which is held back, are left out; runs begin at every eighth word there but the last, so that a shorter overlap than
fifteen words can remain. One seed determines the result.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from prepare import records, write

_SEED = 5
_FUNCTIONS = 9000
_SHARED_WORDS = 8
_QUERY_WORDS, _SHORT_QUERY_WORDS, _FUNCTION_WORDS = 40, 10, 220
_FEWEST_QUERY_WORDS, _FEWEST_FUNCTION_WORDS = 3, 8


def held_back_runs(folder: Path) -> set[str]:
    """Return runs of words of the texts in english/, which begin at every eighth word but the last."""
    runs = set()
    for file in sorted(folder.glob("*/corpus.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            words = json.loads(line)["text"].split()
            for start in range(0, max(1, len(words) - _SHARED_WORDS), _SHARED_WORDS):
                runs.add(" ".join(words[start : start + _SHARED_WORDS]))
    return runs


def overlaps(text: str, runs: set[str]) -> bool:
    """Return whether a text has one of the runs of words."""
    words = text.split()
    starts = range(max(1, len(words) - _SHARED_WORDS + 1))
    return any(" ".join(words[start : start + _SHARED_WORDS]) in runs for start in starts)


def query_of(docstring: str, rng: random.Random) -> str:
    """Return a docstring as a query: whole, or as a short search."""
    first = re.split(r"(?<=[.!?])\s", docstring)[0]
    if rng.random() >= 0.5:
        return " ".join(docstring.split()[:_QUERY_WORDS])
    words = re.sub(r"[^\w\s'_-]", " ", first.lower()).split()[:_SHORT_QUERY_WORDS]
    if len(words) < _FEWEST_QUERY_WORDS:
        return first
    return ("python " if rng.random() < 0.5 else "") + " ".join(words)


def functions(pairs: Path, runs: set[str]) -> Iterator[dict[str, str]]:
    """Yield examples of Python functions, each function once."""
    rng = random.Random(_SEED)
    shuffled = list(records(pairs, "python-docstrings"))
    rng.shuffle(shuffled)
    seen = set()
    for record in shuffled:
        docstring, whole = record["query"], record["positive"]
        passage = " ".join(whole.split()[:_FUNCTION_WORDS])
        if len(passage.split()) < _FEWEST_FUNCTION_WORDS or passage in seen or not docstring:
            continue
        if overlaps(whole, runs):
            continue
        seen.add(passage)
        yield {"query": query_of(docstring, rng), "positive": passage, "source": "python-docstrings"}
        if len(seen) >= _FUNCTIONS:
            return


def commands(file: Path, runs: set[str]) -> Iterator[dict[str, str]]:
    """Yield the examples of code.jsonl that are English and no functions."""
    for line in file.read_text("utf-8").splitlines():
        record = json.loads(line)
        is_english = record["lang"] == record["doc_lang"] == "en"
        if is_english and record.get("source") != "python-docstrings" and not overlaps(record["positive"], runs):
            yield {"query": record["query"], "positive": record["positive"]}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("work", type=Path)
    arguments = parser.parse_args()
    runs = held_back_runs(arguments.work / "english")
    examples = [*functions(arguments.pairs, runs), *commands(arguments.work / "code.jsonl", runs)]
    write(arguments.work / "short-code.jsonl", examples)
    print(f"{len(examples):,} examples")


if __name__ == "__main__":
    main()
