"""The charts of a report: every query's two values, and speed against recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serotine.charts import Axis, Mark, Panel, drawing, legend, series_color

if TYPE_CHECKING:
    from serotine.evaluation.comparison.compare import Pair

_DEPTH = 10
# More engines than this are points without a name: a sweep has dozens.
_NAMED = 8
# Queries at one place that are told by id.
_TOLD = 6


def scatter(pair: Pair, metric: str) -> str:
    """An SVG with one circle for each pair of values: above the diagonal the system is better.

    Queries with the same two values share a circle, whose area grows with their number; pointing at it tells them.
    """
    places: dict[tuple[float, float], list[str]] = {}
    for query in pair.queries:
        places.setdefault((round(query.baseline, 3), round(query.system, 3)), []).append(query.query)
    across, up = (Axis(f"{metric} of {_short(name)}", 0, 1) for name in (pair.baseline, pair.system))
    panel = Panel(44, 26, 352, 334, across, up)
    parts = [*panel.axes(), panel.line([(0, 0), (1, 1)], "var(--chart-label, #52606d)", dashed=True)]
    # Large circles first, so that none hides another.
    for (before, after), queries in sorted(places.items(), key=lambda place: -len(place[1])):
        named = ", ".join(queries[:_TOLD]) + (f" and {len(queries) - _TOLD} more" if len(queries) > _TOLD else "")
        number = 0 if after < before else 1 if after > before else 6
        title = f"{'query' if len(queries) == 1 else f'{len(queries)} queries'} {named}: {before:g} to {after:g}"
        radius = min(3.5 * len(queries) ** 0.5, 16)
        parts.append(panel.mark(Mark(before, after, series_color(number), title, radius=radius, opacity=0.6)))
    title = f"{pair.collection}: {pair.system} against {pair.baseline}, {len(pair.queries)} queries"
    return drawing(370, 376, title, parts, heading=False)


def pareto(bench: Mapping[str, Any], name: str) -> str:
    """An SVG of recall against milliseconds, with the points that no other beats in both joined by a line.

    Raises:
        ValueError: `bench` is not what `serotine bench index` or `serotine bench compression` writes.
    """
    rows = bench.get("searched") if isinstance(bench, Mapping) else None
    if not isinstance(rows, list):
        raise ValueError(f"benches: {name!r} is no result of `serotine bench index` or `serotine bench compression`")
    try:
        shown = sorted(operating_points(rows, _DEPTH), key=lambda row: (row["p50_ms"], -row["recall_at_10"]))
    except (KeyError, TypeError):
        raise ValueError(f"benches: {name!r} lacks milliseconds or recall") from None
    except ValueError as error:
        raise ValueError(f"benches: {name!r}: {error}") from None
    front: list[Mapping[str, Any]] = []
    for row in shown:
        if not front or row["recall_at_10"] > front[-1]["recall_at_10"]:
            front.append(row)
    engines = list(dict.fromkeys(row["engine"] for row in shown))
    named = len(engines) <= _NAMED
    lowest = max(min(row["recall_at_10"] for row in shown) - 0.02, 0.0)
    width = 820 if named else 600
    panel = Panel(
        50,
        30,
        560,
        320,
        Axis.around("milliseconds a query, median, one thread", [row["p50_ms"] for row in shown]),
        Axis("recall@10 of exact MaxSim", lowest, 1.0),
    )
    parts = panel.axes()
    parts.append(panel.line([(row["p50_ms"], row["recall_at_10"]) for row in front], "var(--chart-ink, #1f2933)"))
    for row in shown:
        fill = series_color(engines.index(row["engine"])) if named else series_color(1 if row in front else 6)
        title = f"{row['engine']}, {row['setting']}: {row['p50_ms']:.2f} ms, recall {row['recall_at_10']:.4f}"
        parts.append(
            panel.mark(Mark(row["p50_ms"], row["recall_at_10"], fill, title, opacity=0.9 if row in front else 0.5))
        )
    if named:
        parts += legend(584, 40, ((engine, series_color(number), "circle") for number, engine in enumerate(engines)))
    return drawing(width, 362, f"{name}: speed and recall", parts, heading=False)


def operating_points(rows: Sequence[Mapping[str, Any]], k: int) -> list[Mapping[str, Any]]:
    """The rows that can be compared: k hits asked for, everything searched, nothing changed before.

    Raises:
        ValueError: there are none.
    """
    field = f"recall_at_{k}"
    shown = [row for row in rows if row["k"] == k and row[field] is not None]
    shown = [row for row in shown if not row["setting"].startswith(("filter", "after"))]
    if not shown:
        raise ValueError(f"rows: none has {field}")
    return shown


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
