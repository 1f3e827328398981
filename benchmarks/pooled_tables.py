"""The tables of pooled vectors on the page of benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from page_tables import difference, table


def pooled(results: Any) -> Iterator[str]:
    """Quality of MaxSim plus one pooled vector, by encoders and collection."""
    for number, pair in enumerate(results["pairs"]):
        yield f"{'' if number == 0 else chr(10)}{pair['late']}, and {pair['pooled']}:\n"
        rows = []
        for row in pair["rows"]:
            late, single, total, stage = (f"{100 * row[name]:.1f}" for name in ("late", "pooled", "sum", "stage"))
            rows.append(
                [row["collection"], row["queries"], late, single, f"{total} ({difference(row)})", row["weight"], stage]
            )
        columns = ["collection", "queries", "MaxSim", "pooled", "sum", "weight", "MaxSim of the pooled 100"]
        yield from table(columns, rows)


def pooled_index(results: Any) -> Iterator[str]:
    """Quality and time of searches with pooled vectors, by encoders and collection."""
    for number, row in enumerate(results["rows"]):
        late, pooled = row["weights"]
        fitted = "fitted on training queries" if row["fitted"] else "the default"
        without, seconds = row["seconds"]["without"], row["seconds"]["with"]
        yield (
            f"{'' if number == 0 else chr(10)}{row['collection']}, {row['documents']:,} documents, {row['late']} and "
            f"{row['pooled']}, weights ({late:g}, {pooled:g}), {fitted}. Built in {seconds:.0f} s, without pooled "
            f"vectors in {without:.0f}; these take {row['pooled_bytes'] / row['documents']:.0f} bytes a document.\n"
        )
        yield from table(
            ["search", "nDCG@10", "of the exact ten", "ms", "p95", "by MaxSim"],
            (
                [
                    f"`{search['search']}`",
                    f"{100 * search['nDCG@10']:.1f}",
                    f"{100 * search['of_exact']:.1f}%",
                    f"{search['ms']:.2f}",
                    f"{search['p95']:.2f}",
                    f"{search['maxsim']:.0f}",
                ]
                for search in row["searches"]
            ),
        )
