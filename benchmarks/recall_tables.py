"""The tables of the benchmarks page about recall: what searches promise and find, and effort by query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from page_tables import table


def recall(results: Any) -> Iterator[str]:
    """Promised and measured recall, the worst index of each."""
    indexes = [index for index in results["collections"] if not scores_everything(index)]
    calibrations = {
        "none": "none",
        "sentences": "sentences of its texts",
        "tokens": "runs of its tokens",
        "given": "half of the real queries",
    }
    rows: list[list[Any]] = []
    for origin, calibration in calibrations.items():
        measured = [index for index in indexes if origin in index["calibrated"]]
        for of_promise in zip(*(index["calibrated"][origin] for index in measured), strict=True):
            worst = min(range(len(measured)), key=lambda i: of_promise[i]["measured"])
            interval = f"{of_promise[worst]['measured']:.3f} ± {1.96 * of_promise[worst]['standard_error']:.3f}"
            mean = sum(row["measured"] for row in of_promise) / len(measured)
            rows.append(
                [
                    calibration,
                    len(measured),
                    of_promise[0]["k"],
                    of_promise[0]["promised"],
                    f"{mean:.3f}",
                    f"{interval} ({measured[worst]['vectors']}, {measured[worst]['collection']})",
                ]
            )
    yield from table(["calibrated with", "indexes", "k", "promised", "measured, mean", "worst index"], rows)
    yield "\nPromised 0.99 of the ten best:\n"
    efforts = []
    for index in indexes:
        row = [index["vectors"], index["collection"], f"{index['documents']:,}", index["dim"], index["queries"]]
        for origin in calibrations:
            searched = index["calibrated"].get(origin, ())
            row += [_found_with(found) for found in searched if (found["k"], found["promised"]) == (10, 0.99)] or [""]
        efforts.append(row)
    yield from table(["vectors", "collection", "documents", "dimensions", "queries", *calibrations.values()], efforts)


def scores_everything(index: dict[str, Any]) -> bool:
    """Return whether an index has so few tokens that all of its searches are exact."""
    return all(row["expected"] == 1.0 for row in index["calibrated"]["none"])


def _found_with(row: dict[str, Any]) -> str:
    effort = "exact" if row["candidates"] is None else f"{row['candidates']} candidates"
    return f"{row['measured']:.3f}, {effort}"


def query_effort(results: Any) -> Iterator[str]:
    """What effort by query saves at equal recall."""
    rows = []
    for collection in results["collections"]:
        for depth in collection["depths"]:
            again = {row["recall"]: row for row in depth["again"]}
            for stop in depth["stop"]:
                second = again[stop["recall"]]
                rows.append(
                    [
                        f"{collection['vectors']}, {collection['collection']}",
                        depth["k"],
                        stop["recall"],
                        f"{stop['fixed']:.0f}",
                        f"{stop['by_query']:.0f}",
                        f"{stop['time_saved']:.1%}",
                        _compared(second, "both_searches"),
                        _compared(second, "second_continues"),
                    ]
                )
    yield from table(
        [
            "vectors",
            "k",
            "recall",
            "documents over codes, the same for all",
            "stop: by query",
            "time saved",
            "again: times the time (recall)",
            "if the second continued",
        ],
        rows,
    )


def _compared(second: dict[str, float], name: str) -> str:
    return f"{second[name]:.2f} ({second[f'{name}_recall']:+.3f})" if name in second else ""
