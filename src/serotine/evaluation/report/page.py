"""A comparison as one HTML file, without scripts or network access, in light, dark and print styles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.errors import SerotineError, missing_extra
from serotine.evaluation.comparison.by_language import by_language
from serotine.evaluation.report.charts import pareto, scatter
from serotine.evaluation.report.fragments import heatmap, pieces, settings
from serotine.evaluation.report.language_chart import language_chart
from serotine.files import write_atomically

if TYPE_CHECKING:
    from serotine.evaluation.comparison.changes import Change
    from serotine.evaluation.comparison.compare import Comparison

# Heatmaps of the queries that improved most, and as many of those that got worse.
_MAX_HEATMAPS = 2


def write_report(
    comparison: Comparison, file: str | Path, *, benches: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write the report of a comparison.

    Args:
        comparison: the result of `compare`; with collections and an encoder, it has passages and matched tokens.
        file: the HTML file.
        benches: results of `serotine bench index` or `serotine bench compression` by name, for speed against recall.

    Raises:
        SerotineError: the eval extra is not installed.
        ValueError: an item of `benches` is not such a result.

    >>> from pathlib import Path
    >>> from serotine.evaluation import Result, compare, write_report
    >>> results = [
    ...     Result(name, "toy", "test", {"RR": x}, {"q": {"RR": x}}, {}, {}) for name, x in (("a", 0.5), ("b", 1.0))
    ... ]
    >>> write_report(compare(results, metric="RR"), "report.html")
    >>> Path("report.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    write_atomically(Path(file), render(comparison, benches or {}))


def render(comparison: Comparison, benches: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the HTML of the report."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError:
        raise SerotineError(missing_extra("a report", "eval")) from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["pieces"] = pieces
    environment.globals["heatmap"] = heatmap
    # The only markup from outside the template; the charts escape their texts.
    scatters = [scatter(pair, comparison.metric) for pair in comparison.pairs]
    languages = by_language(comparison)
    speeds = [(name, pareto(bench, name)) for name, bench in benches.items()]
    return environment.get_template("report.html").render(
        comparison=comparison,
        pairs={(pair.system, pair.collection): pair for pair in comparison.pairs},
        scatters=list(zip(comparison.pairs, map(Markup, scatters), strict=True)),
        speeds=[(name, Markup(chart)) for name, chart in speeds],  # noqa: S704
        languages=languages,
        language_chart=Markup(language_chart(languages)) if languages is not None else "",  # noqa: S704
        heatmaps=_extremes(comparison.changes),
        settings=settings(comparison.records),
    )


def _extremes(changes: Sequence[Change]) -> list[Change]:
    """Return the aligned changes that improved most, then those that got worse most."""
    shown = [change for change in changes if any(document.alignment for document in change.documents)]
    gains = [change for change in shown if change.difference > 0][:_MAX_HEATMAPS]
    return gains + [change for change in shown if change.difference < 0][:_MAX_HEATMAPS]
