"""The charts of a report: the two values of every query, and speed against recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serotine.charts import Axis, Mark, Panel, drawing, legend, series_color

if TYPE_CHECKING:
    from serotine.evaluation.comparison.compare import Pair

_K = 10
# With more engines, as in a sweep, points have no colors and legend of their own.
_MAX_NAMED_ENGINES = 8
# Query ids in the title of a circle.
_MAX_IDS = 6


def scatter(pair: Pair, metric: str) -> str:
    """Return an SVG of the system's value against the baseline's: above the diagonal, the system is better.

    Queries with the same two values share a circle, whose area grows with their number and whose title lists them.
    """
    points: dict[tuple[float, float], list[str]] = {}
    for query in pair.queries:
        points.setdefault((round(query.baseline, 3), round(query.system, 3)), []).append(query.query)
    x_axis, y_axis = (Axis(f"{metric} of {_short(name)}", 0, 1) for name in (pair.baseline, pair.system))
    panel = Panel(44, 26, 352, 334, x_axis, y_axis)
    elements = [*panel.axes(), panel.line([(0, 0), (1, 1)], "var(--chart-label, #52606d)", dashed=True)]
    # Large circles first, so that none hides another.
    for (before, after), queries in sorted(points.items(), key=lambda point: -len(point[1])):
        ids = ", ".join(queries[:_MAX_IDS]) + (
            f" and {len(queries) - _MAX_IDS} more" if len(queries) > _MAX_IDS else ""
        )
        number = 0 if after < before else 1 if after > before else 6
        title = f"{'query' if len(queries) == 1 else f'{len(queries)} queries'} {ids}: {before:g} to {after:g}"
        radius = min(3.5 * len(queries) ** 0.5, 16)
        elements.append(panel.mark(Mark(before, after, series_color(number), title, radius=radius, opacity=0.6)))
    title = f"{pair.collection}: {pair.system} against {pair.baseline}, {len(pair.queries)} queries"
    return drawing(370, 376, title, elements, heading=False)


def pareto(bench: Mapping[str, Any], name: str) -> str:
    """Return an SVG of recall against milliseconds per query, with a line through the Pareto-optimal points.

    Raises:
        ValueError: `bench` is not a result of `serotine bench index` or `serotine bench compression`.
    """
    rows = bench.get("searched") if isinstance(bench, Mapping) else None
    if not isinstance(rows, list):
        raise ValueError(f"benches: {name!r} is not a result of `serotine bench index` or `serotine bench compression`")
    try:
        points = sorted(operating_points(rows, _K), key=lambda row: (row["p50_ms"], -row["recall_at_10"]))
    except (KeyError, TypeError):
        raise ValueError(f"benches: {name!r} lacks milliseconds or recall") from None
    except ValueError as error:
        raise ValueError(f"benches: {name!r}: {error}") from None
    front: list[Mapping[str, Any]] = []
    for row in points:
        if not front or row["recall_at_10"] > front[-1]["recall_at_10"]:
            front.append(row)
    engines = list(dict.fromkeys(row["engine"] for row in points))
    named = len(engines) <= _MAX_NAMED_ENGINES
    min_recall = max(min(row["recall_at_10"] for row in points) - 0.02, 0.0)
    width = 820 if named else 600
    panel = Panel(
        50,
        30,
        560,
        320,
        Axis.around("milliseconds per query, median, one thread", [row["p50_ms"] for row in points]),
        Axis("recall@10 of exact MaxSim", min_recall, 1.0),
    )
    elements = panel.axes()
    elements.append(panel.line([(row["p50_ms"], row["recall_at_10"]) for row in front], "var(--chart-ink, #1f2933)"))
    for row in points:
        fill = series_color(engines.index(row["engine"])) if named else series_color(1 if row in front else 6)
        title = f"{row['engine']}, {row['setting']}: {row['p50_ms']:.2f} ms, recall {row['recall_at_10']:.4f}"
        elements.append(
            panel.mark(Mark(row["p50_ms"], row["recall_at_10"], fill, title, opacity=0.9 if row in front else 0.5))
        )
    if named:
        elements += legend(584, 40, ((engine, series_color(number), "circle") for number, engine in enumerate(engines)))
    return drawing(width, 362, f"{name}: speed and recall", elements, heading=False)


def operating_points(rows: Sequence[Mapping[str, Any]], k: int) -> list[Mapping[str, Any]]:
    """Return the comparable rows: searches for k hits, without a filter, in an unchanged index.

    Raises:
        ValueError: there are no such rows.
    """
    field = f"recall_at_{k}"
    points = [row for row in rows if row["k"] == k and row[field] is not None]
    points = [row for row in points if not row["setting"].startswith(("filter", "after"))]
    if not points:
        raise ValueError(f"rows: no row has {field}")
    return points


def _short(name: str, max_length: int = 28) -> str:
    return name if len(name) <= max_length else f"…{name[1 - max_length :]}"
