"""Index a real collection, run three queries, and evaluate it against BM25; run by ``make demo``."""

from __future__ import annotations

import re
import shutil
import sys
import time
import warnings
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from serotine import Encoder, Index
from serotine.evaluation import BM25, evaluate, load_beir
from serotine.excerpts import MARK, UNMARK, passage
from serotine.index import Explanation, Hit

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "cache" / "cranfield.serotine"
QUERIES = [
    "what happens to heat transfer when the boundary layer becomes turbulent",
    "why do wings flutter",
    "how can a space vehicle survive the heat of reentry",
]


def highlight(explanation: Explanation) -> Text:
    """Return the excerpt with the strongest matches; matched words are colored on a terminal."""
    text = Text()
    for piece in re.split(f"({MARK}.*?{UNMARK})", passage(explanation.text, explanation.spans(), 300)):
        if piece.startswith(MARK):
            text.append(piece.strip(MARK + UNMARK), "bold yellow")
        else:
            text.append(piece)
    return text


def search(index: Index, query: str, console: Console) -> None:
    """Run a query and show the three best passages."""
    started = time.perf_counter()
    hits = index.search(query, k=3)
    milliseconds = (time.perf_counter() - started) * 1e3
    console.print(Rule(f"[bold]{query}?[/]", align="left"))
    for hit in hits:
        show(hit, index.explain(query, hit.id), console)
    stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in hits.stats.milliseconds.items())
    counts = ", ".join(f"{count:,} by {stage}" for stage, count in hits.stats.counts.items() if stage != "allowed")
    console.print(f"[dim]{milliseconds:.0f} ms ({stages}); of {hits.stats.documents:,} documents, {counts}[/]\n")


def show(hit: Hit, explanation: Explanation, console: Console) -> None:
    """Print the score, id and excerpt of a hit."""
    console.print(Text.assemble((f"{hit.score:6.2f}", "cyan"), f"  document {hit.id}"))
    console.print(Padding(highlight(explanation), (0, 0, 0, 8), expand=False))


def main() -> int:
    """Run the demo; return 1 when late interaction scores below BM25."""
    console = Console(width=110, highlight=False)
    warnings.showwarning = lambda message, *_: console.print(f"[dim]note: {message}[/]")
    collection = load_beir(ROOT / "examples" / "cranfield")
    console.print(
        f"\n[bold]Serotine[/]: {len(collection.documents):,} abstracts on aerodynamics (Cranfield), "
        f"{len(collection.queries)} judged queries\n"
    )

    if INDEX.exists():
        shutil.rmtree(INDEX)
    INDEX.parent.mkdir(exist_ok=True)
    encoder = Encoder()
    started = time.perf_counter()
    with Index.create(INDEX, encoder=encoder) as index:
        index.add(ids=list(collection.documents), texts=list(collection.documents.values()), show_progress=True)
        stats = index.stats()
        console.print(
            f"Indexed {stats.documents:,} documents, {stats.tokens:,} token vectors of {stats.dim} dimensions, "
            f"{stats.bytes / 1e6:.0f} MB, in {time.perf_counter() - started:.0f} s\n"
        )
        for query in QUERIES:
            search(index, query, console)

        console.print(Rule("[bold]Evaluation: nDCG@10 over all queries[/]", align="left"))
        started = time.perf_counter()
        batch = index.search_batch(list(collection.queries.values()), k=100)
        milliseconds = (time.perf_counter() - started) * 1e3 / len(batch)
    run = {id_: {hit.id: hit.score for hit in hits} for id_, hits in zip(collection.queries, batch, strict=True)}
    bm25_run = BM25(collection.documents).search(collection.queries)
    ours = evaluate(collection.qrels, run)["nDCG@10"] * 100
    baseline = evaluate(collection.qrels, bm25_run)["nDCG@10"] * 100
    table = Table(box=None)
    table.add_column("")
    table.add_column("nDCG@10", justify="right")
    table.add_row("BM25 (stemmed)", f"{baseline:.2f}")
    table.add_row(f"Serotine, late interaction ({encoder.name})", f"[bold]{ours:.2f}[/]")
    console.print(table)
    console.print(f"[dim]{milliseconds:.0f} ms per query, encoding included[/]\n")

    path = INDEX.relative_to(ROOT)
    console.print("Now try a query of your own:")
    console.print(f'  .venv/bin/serotine search {path} "how does sweep affect the lift of a wing"')
    console.print(f"  .venv/bin/serotine info {path}\n")
    if ours < baseline:
        console.print("[red]Late interaction is below BM25: something is wrong with this build.[/]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
