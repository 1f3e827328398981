"""The hits of ``serotine search``, from one index or several, as text and as JSON."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.cli.output import plural, shell_line
from serotine.excerpts import MARK, UNMARK, Span, code_passage, passage
from serotine.texts import printable

if TYPE_CHECKING:
    from serotine.errors import SerotineWarning
    from serotine.index import Hit, Hits, MergedHit, SearchOptions, SearchStats

# Suffixes of files, beside source code, whose line breaks are shown.
_LINES = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".ipynb")
_BOLD, _NOT_BOLD = "\x1b[1m", "\x1b[22m"
# Lower scores would be printed as zero.
_LEAST_SCORE = 0.0001
# What each stage of a search scores a document by, in the order of the stages.
_STAGES = {
    "centroids": "centroids",
    "residuals": "residuals",
    "codes": "codes",
    "vectors": "vectors",
    "bm25": "words",
    "pooled": "pooled vectors",
    "maxsim": "MaxSim",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One of the hits to print.

    Attributes:
        path: its index.
        hits: all hits of that index.
        merged: its place and score among those of all indexes.
        spans: its matched words.
    """

    path: Path
    hits: Hits
    merged: MergedHit
    spans: list[Span]

    @property
    def hit(self) -> Hit:
        """The hit."""
        return self.hits[self.merged.position]

    @property
    def score_per_token(self) -> float | None:
        """MaxSim per query token; None where it would look good, but says little."""
        return None if self.hits.has_unknown_text else self.hit.score_per_token


def lines(
    found: Sequence[Found], results: Mapping[Path, Hits], options: SearchOptions, *, empty: bool, verbose: bool
) -> str:
    """Return what is printed.

    Args:
        found: the hits to print, best first.
        results: all hits of every index.
        options: of the search.
        empty: whether the indexes have no documents.
        verbose: whether to describe the stages of the search.
    """
    if empty:
        path = next(iter(results))
        return f"{path}: has no documents; add some with: {shell_line('serotine', 'add', path)} FILE"
    offset, below = options.offset, sum(hits.stats.below_min_score for hits in results.values())
    if not found and below:
        scores = [hits.stats.best_score_per_token for hits in results.values()]
        best = max((score for score in scores if score is not None), default=None)
        if offset and best is not None and options.min_score is not None and best >= options.min_score:
            return f"No document after the first {offset:,} reaches --min-score {options.min_score:g}."
        having = "" if best is None else f": the best has {best:.3f}"
        return f"No document reaches --min-score {options.min_score:g}{having}."
    if not found:
        return f"No document after the first {offset:,}." if offset else "No document matches."
    several = len(results) > 1
    blocks = []
    for rank, one in enumerate(found, offset + 1):
        place = f"  ({printable(str(one.path))})" if several else ""
        blocks.append(f"{rank:>3}  {_scores(one, verbose=verbose)}  {_name(one.hit)}{place}\n{_passage(one)}")
    if below:
        blocks.append(f"{plural(below, 'more document')} below --min-score {options.min_score:g}")
    filtered = options.where is not None
    blocks.append(_summary(found, results, filtered=filtered))
    for path, hits in results.items():
        prefix = f"{path}: " if several else ""
        if verbose:
            blocks.append(prefix + _stages(hits.stats, filtered=filtered))
        if hits.certificate is not None:
            blocks.append(prefix + hits.certificate.statement)
    return "\n".join(blocks)


def as_json(
    found: Sequence[Found], results: Mapping[Path, Hits], offset: int, warnings: Iterable[SerotineWarning]
) -> dict[str, Any]:
    """Return the hits as JSON values; of several indexes, each hit and the statistics name theirs."""
    several = len(results) > 1
    listed = [
        {
            "rank": rank,
            **({"index": str(one.path)} if several else {}),
            **one.hit.to_dict(),
            "score": one.merged.score,
            "spans": one.spans,
        }
        for rank, one in enumerate(found, offset + 1)
    ]
    described = [
        {
            "stats": asdict(hits.stats),
            "certificate": None if hits.certificate is None else hits.certificate.to_dict(),
            "partial": None if hits.partial is None else asdict(hits.partial),
        }
        for hits in results.values()
    ]
    indexes = [{"index": str(path), **one} for path, one in zip(results, described, strict=True)]
    return {
        "hits": listed,
        **({"indexes": indexes} if several else described[0]),
        "warnings": [warning.to_dict() for warning in warnings],
    }


def _name(hit: Hit) -> str:
    id_ = f"{printable(hit.id)}{_pages(hit.metadata)}"
    return f"{id_}  (and {plural(hit.other_passages, 'more passage')})" if hit.other_passages else id_


def _pages(metadata: Mapping[str, Any]) -> str:
    """Return the pages of a passage of a file: the number after its "#" counts passages."""
    first, last = metadata.get("page"), metadata.get("last_page")
    if "source" not in metadata or not isinstance(first, int):
        return ""
    return f"  (page {first})" if not isinstance(last, int) or last == first else f"  (pages {first} to {last})"


def _summary(found: Sequence[Found], results: Mapping[Path, Hits], *, filtered: bool) -> str:
    """Return ``3 of 1,400 documents in 6.0 ms; the best of them scores 0.714 per query token``."""
    stats = [hits.stats for hits in results.values()]
    # BM25 applies the filter while it scores and does not count the documents that pass.
    count = sum(one.documents for one in stats)
    passing = f" that pass{'es' if count == 1 else ''} the filter"
    passing = passing if filtered and any(one.plan != "bm25" for one in stats) else ""
    documents = plural(count, "document")
    places = f" of {len(stats)} indexes" if len(stats) > 1 else ""
    milliseconds = sum(one.milliseconds["search"] for one in stats)
    scores = [score for one in found if (score := one.score_per_token) is not None]
    best = f"; the best of them scores {max(scores):.3f} per query token" if scores else ""
    return f"{len(found):,} of {documents}{places}{passing} in {milliseconds:,.1f} ms{best}"


def _stages(stats: SearchStats, *, filtered: bool) -> str:
    """Describe the stages of a search, with the number of documents that each scored, and its time."""
    plan = stats.plan.split(" + ")
    # BM25 applies the filter while it scores and does not count the documents that pass.
    filtered = filtered and plan != ["bm25"]
    stages: list[str] = []
    for stage, name in _STAGES.items():
        count = stats.counts.get(stage, 0)
        if count:
            noun = "" if stages or filtered else f" document{'' if count == 1 else 's'}"
            lists = " (on the posting lists nearest the query)" if stage == "centroids" and "probe" in plan else ""
            stages.append(f"{count:,}{noun} by {'its' if count == 1 else 'their'} {name}{lists}")
    summary = ", ".join(stages) or "no document scored"
    if filtered:
        verb = "passes" if stats.documents == 1 else "pass"
        summary = f"{plural(stats.documents, 'document')} {verb} the filter: {summary}"
    elif plan == ["flat"] and stats.documents > 1:
        summary = f"all {summary}"
    summary = f"{summary[0].upper()}{summary[1:]} in {stats.milliseconds['search']:,.1f} ms"
    if plan == ["bm25"]:
        return summary
    if stats.counts.get("codes") and stats.expected_recall is not None:
        summary += f"; expected recall {stats.expected_recall:.3f}, at least {stats.recall_lower_bound:.3f}"
    return f"{summary}; query encoded in {stats.milliseconds['encode']:,.0f} ms (including loading the encoder)"


def _scores(found: Found, *, verbose: bool) -> str:
    """Return what a hit is ranked by: per query token, as ``--min-score`` takes it, in mode late.

    In modes hybrid and pooled the fused score, and that per query token after it; with `verbose` also the sum. A dash
    where the encoder knows too little for MaxSim to mean something.
    """
    per_token, score = found.score_per_token, found.merged.score
    plan = found.hits.stats.plan
    by_maxsim = "bm25" not in plan and "pooled" not in plan and score == found.hit.score
    if by_maxsim and found.hits.has_unknown_text:
        return f"{'-':>7}{f' (sum {score:.3f})' if verbose else ''}"
    if per_token is not None and by_maxsim:
        return f"{per_token:7.3f}{f' (sum {score:.3f})' if verbose else ''}"
    # Sums of reciprocal ranks are small, and differ little.
    ranked_by = f"{score:7.3f}" if score >= 1 else f"{score:7.4f}"
    # BM25 gives a word of most documents a millionth.
    if 0 < score < _LEAST_SCORE:
        ranked_by = f"<{_LEAST_SCORE}"
    return ranked_by if per_token is None else f"{ranked_by} ({per_token:.3f} per query token)"


def _passage(found: Found) -> str:
    """Return the passage of a hit, indented: code with its lines, other text as one paragraph."""
    # None where standard output is closed.
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    text, margin = found.hit.text, " " * 5
    width = min(shutil.get_terminal_size().columns, 120)
    if text is None:
        return f"{margin}(added as vectors, without text)"
    if _keeps_lines(found.hit):
        excerpt = textwrap.indent(code_passage(text, found.spans, (width if on_terminal else 120) - 9), margin)
    else:
        excerpt = passage(text, found.spans)
        filled = textwrap.fill(excerpt, width, initial_indent=margin, subsequent_indent=margin)
        excerpt = filled if on_terminal else f"{margin}{excerpt}"
    if not excerpt.strip():
        return f"{margin}(empty text)"
    return _highlight(excerpt, bold=on_terminal)


def _keeps_lines(hit: Hit) -> bool:
    """Return whether the lines of a passage mean something: source code, settings, notebooks, logs."""
    source, fields = hit.metadata.get("source"), hit.metadata
    if isinstance(fields.get("language"), str) and "last_line" in fields:
        return True
    return isinstance(source, str) and Path(source.removesuffix(".gz")).suffix.lower() in _LINES


def _highlight(text: str, *, bold: bool) -> str:
    return text.replace(MARK, _BOLD if bold else "").replace(UNMARK, _NOT_BOLD if bold else "")
