"""Index pages in ten languages, ask across languages, and judge it; run by ``make demo-multilingual``.

Another encoder: ``languages_demo.py FOLDER``.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from serotine import Encoder, Index
from serotine.errors import SerotineError
from serotine.evaluation import load_beir
from serotine.languages import language_name

ROOT = Path(__file__).parent.parent
COLLECTION = ROOT / "examples" / "languages"
INDEX = ROOT / "cache" / "languages.serotine"
QUERIES = ["delete files from a remote repository", "Dateien komprimieren", "压缩文件"]
KS = (1, 10)
# Below this share of the same-language recall, the encoder does not know one of the languages.
MIN_SHARE = 0.5


def records(name: str) -> list[dict[str, Any]]:
    """Return the objects of a file of the collection."""
    with gzip.open(COLLECTION / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def show(index: Index, query: str, console: Console) -> None:
    """Print the best page of a query in every language, best first."""
    console.print(Rule(f"[bold]{query}[/]", align="left"))
    best: dict[str, str] = {}
    for hit in index.search(query, k=len(index)):
        text = " ".join((hit.text or "")[:80].split())
        best.setdefault(hit.metadata["lang"], f"{hit.score:6.2f}  {text}")
    for code, line in list(best.items())[:5]:
        console.print(f"  {language_name(code):11}", line, markup=False)
    console.print()


def recall_by_languages(index: Index, encoder: Encoder) -> dict[int, dict[tuple[str, str], float]]:
    """Return, for k = 1 and 10, the recall of queries in one language among the pages of another, by both languages."""
    qrels = load_beir(COLLECTION).qrels
    queries = records("queries")
    vectors = encoder.encode_queries([query["text"] for query in queries])
    ranks: dict[tuple[str, str], list[int]] = defaultdict(list)
    for language in sorted({query["lang"] for query in queries}):
        relevant = [{id_ for id_ in qrels[query["_id"]] if id_.startswith(f"{language}:")} for query in queries]
        judged = [i for i, ids in enumerate(relevant) if ids]
        hits = index.search_batch([vectors[i] for i in judged], k=max(KS), where={"lang": language})
        for i, answer in zip(judged, hits, strict=True):
            rank = next((rank for rank, hit in enumerate(answer, 1) if hit.id in relevant[i]), max(KS) + 1)
            ranks[queries[i]["lang"], language].append(rank)
    return {k: {pair: sum(r <= k for r in found) / len(found) for pair, found in ranks.items()} for k in KS}


def report(recall: dict[int, dict[tuple[str, str], float]], console: Console) -> float:
    """Print recall by the language of the query; return the cross-lingual recall@10 as a share of the other."""
    table = Table(box=None)
    table.add_column("query in")
    for k in KS:
        for column in (f"@{k} same language", "other languages", "share"):
            table.add_column(column, justify="right")
    languages = sorted({query for query, _ in recall[KS[0]]}, key=language_name)
    rows = {language_name(language): [_same_and_other(recall[k], language) for k in KS] for language in languages}
    means = [(fmean(row[n][0] for row in rows.values()), fmean(row[n][1] for row in rows.values())) for n in range(2)]
    for name, figures in {**rows, "mean": means}.items():
        cells = []
        for same, other in figures:
            cells += [f"{same * 100:.1f}", f"{other * 100:.1f}", f"{other / same:.2f}" if same else "-"]
        table.add_row(name, *cells, style="bold" if name == "mean" else "")
    console.print(table)
    same, other = means[-1]
    return other / same if same else 0.0


def _same_and_other(recall: dict[tuple[str, str], float], language: str) -> tuple[float, float]:
    others = [value for (query, page), value in recall.items() if query == language != page]
    return recall[language, language], fmean(others)


def main() -> int:
    """Run the demo; return 1 when queries hardly find pages in other languages."""
    console = Console(width=110, highlight=False)
    warnings.showwarning = lambda message, *_: console.print(f"[dim]note: {message}[/]")
    try:
        encoder = Encoder(sys.argv[1] if len(sys.argv) > 1 else "multilingual")
    except SerotineError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    pages = records("corpus")
    languages = sorted({page["lang"] for page in pages}, key=language_name)
    names = ", ".join(map(language_name, languages))
    console.print(f"\n[bold]Serotine[/]: {len(pages)} pages on commands (tldr-pages) in {names}\n")
    if INDEX.exists():
        shutil.rmtree(INDEX)
    INDEX.parent.mkdir(exist_ok=True)
    started = time.perf_counter()
    with Index.create(INDEX, encoder=encoder, filterable={"lang": str}) as index:
        index.add(
            ids=[page["_id"] for page in pages],
            texts=[page["text"] for page in pages],
            metadata=[{"lang": page["lang"], "command": page["command"]} for page in pages],
            show_progress=True,
        )
        console.print(f"Indexed with {encoder.name} in {time.perf_counter() - started:.0f} s\n")
        for query in QUERIES:
            show(index, query, console)
        console.print(Rule("[bold]Recall among the 40 pages of one language, in percent[/]", align="left"))
        share = report(recall_by_languages(index, encoder), console)
    path = INDEX.relative_to(ROOT)
    console.print("\nNow ask in a language of your own:")
    console.print(f'  .venv/bin/serotine search {path} "afficher les dernières lignes d\'un fichier"\n')
    if share < MIN_SHARE:
        console.print("[red]Pages in other languages are hardly found: this encoder does not know these languages.[/]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
