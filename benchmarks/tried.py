"""Print the table of docs/evaluation.md: what late chunking, a pooled vector and XTR gave on each collection.

    python benchmarks/tried.py

Differences of nDCG@10 in points, of the files that late_chunking.py, pooled.py and xtr.py wrote; bold where they are
significant after Holm's correction over all comparisons of their file. A test compares the table with the page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from page_tables import difference, table

RESULTS = Path(__file__).parent / "results"
COLUMNS = [
    "collection", "encoder", "late chunking", "titles before passages", "late chunking - titles",
    "plus the tokens' mean", "plus MiniLM's vector", "XTR, 100 tokens", "XTR, 1,000 tokens",
]  # fmt: skip


def results(name: str) -> Any:
    """Return what a benchmark wrote."""
    return json.loads((RESULTS / name).read_text("utf-8"))


def tried() -> str:
    """Return the table."""
    cells: dict[tuple[str, str], dict[str, list[str]]] = {}

    def add(encoder: str, collection: str, column: str, cell: str) -> None:
        cells.setdefault((encoder, collection), {}).setdefault(column, []).append(cell)

    for measured in results("late_chunking.json")["collections"]:
        place = measured["encoder"], measured["collection"]
        lengths = {row["length"] for row in measured["rows"]}
        for row in measured["rows"]:
            at = f" (of {row['length']})" if len(lengths) > 1 or row["length"] != 64 else ""
            if row["system"] == "titles":
                add(*place, "titles before passages", difference(row) + at)
            if row["system"] == "late":
                add(*place, "late chunking", difference(row) + at)
            if "to_titles" in row:
                add(*place, "late chunking - titles", difference(row["to_titles"]) + at)
    for pair in results("pooled.json")["pairs"]:
        column = "plus the tokens' mean" if "token" in pair["pooled"] else "plus MiniLM's vector"
        for row in pair["rows"]:
            add(pair["late"], row["collection"], column, difference(row))
    for row in results("xtr.json")["rows"]:
        for search in row["xtr"][:2]:
            add("serotine-mini", row["collection"], f"XTR, {search['k_token']:,} tokens", difference(search))
    rows = [
        [collection, encoder, *(", ".join(found.get(column, [])) for column in COLUMNS[2:])]
        for (encoder, collection), found in sorted(cells.items())
    ]
    return "\n".join(table(COLUMNS, rows))


if __name__ == "__main__":
    print(tried())
