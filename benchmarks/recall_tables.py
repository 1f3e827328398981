"""The tables of the benchmarks page about recall: what searches promise and find, and effort by query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from page_tables import table


def recall(results: Any) -> Iterator[str]:
    """Promised and measured recall, the worst collection of each."""
    collections = results["collections"]
    names = {
        "none": "none",
        "sentences": "sentences of its texts",
        "tokens": "runs of its tokens",
        "given": "half of the real queries",
    }
    rows: list[list[Any]] = []
    for origin, calibration in names.items():
        having = [one for one in collections if origin in one["calibrated"]]
        for at in range(len(having[0]["calibrated"][origin])):
            measured = [(one["calibrated"][origin][at], f"{one['vectors']}, {one['collection']}") for one in having]
            first = measured[0][0]
            worst, name = min(measured, key=lambda pair: pair[0]["measured"])
            mean = sum(row["measured"] for row, _ in measured) / len(measured)
            worst_cell = f"{worst['measured']:.3f} ± {worst['standard_error']:.3f} ({name})"
            rows.append([calibration, len(having), first["k"], first["promised"], f"{mean:.3f}", worst_cell])
    yield from table(["calibrated with", "indexes", "k", "promised", "measured, mean", "worst index"], rows)
    yield "\nPromised 0.99 of the ten best:\n"
    cells = []
    for one in collections:
        line = [one["vectors"], one["collection"], f"{one['documents']:,}", one["dim"], one["queries"]]
        for origin in names:
            searched = one["calibrated"].get(origin, ())
            row = next((row for row in searched if (row["k"], row["promised"]) == (10, 0.99)), None)
            line.append("" if row is None else _found_with(row))
        cells.append(line)
    yield from table(["vectors", "collection", "documents", "dimensions", "queries", *names.values()], cells)


def _found_with(row: dict[str, Any]) -> str:
    effort = "exact" if row["candidates"] is None else f"{row['candidates']} candidates"
    return f"{row['measured']:.3f}, {effort}"


def query_effort(results: Any) -> Iterator[str]:
    """What effort by query saves at equal recall."""
    rows = []
    for one in results["collections"]:
        for depth in one["depths"]:
            again = {row["recall"]: row for row in depth["again"]}
            for stop in depth["stop"]:
                second = again[stop["recall"]]
                rows.append(
                    [
                        f"{one['vectors']}, {one['collection']}",
                        depth["k"],
                        stop["recall"],
                        f"{stop['fixed']:.0f}",
                        f"{stop['by_query']:.0f}",
                        f"{(1 - stop['by_query'] / stop['fixed']) * depth['share_of_codes']:.1%}",
                        _ratio(second.get("both_searches")),
                        _ratio(second.get("second_continues")),
                    ]
                )
    yield from table(
        [
            "vectors",
            "k",
            "recall",
            "documents over codes, the same for all",
            "by query",
            "time saved",
            "hard queries again: time, to one search",
            "if the second continued",
        ],
        rows,
    )


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
