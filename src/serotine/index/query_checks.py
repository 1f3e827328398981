"""Queries longer than the encoder reads, or outside its vocabulary: warnings, and the search that is run instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serotine.coverage import UNKNOWN_SHARE, TextCoverage
from serotine.errors import SerotineWarning, TruncatedTextWarning, UnknownTextWarning
from serotine.index.hits import Hits
from serotine.index.search import Retriever, SearchOptions


@dataclass(frozen=True, slots=True)
class CheckedQuery:
    """A query's options, and the warnings about it.

    Attributes:
        options: those that were asked for, or of a hybrid search where the encoder does not know the query's words.
        warnings: one for each fault.
    """

    options: SearchOptions
    warnings: tuple[SerotineWarning, ...] = ()

    def warned(self, warnings: tuple[SerotineWarning, ...]) -> CheckedQuery:
        """Return it with more warnings, before its own."""
        return replace(self, warnings=warnings + self.warnings) if warnings else self


def check_query(text: str, coverage: TextCoverage, encoder: str, options: SearchOptions) -> CheckedQuery:
    """Check one query.

    Where more than 20% of its characters are outside the encoder's vocabulary, MaxSim cannot tell documents apart.
    Mode "late" then becomes "hybrid", in which the late ranking has the weight of what is known; "exact" asks for
    MaxSim, and stays.

    Args:
        text: the query.
        coverage: what the encoder reads of it.
        encoder: the encoder's name.
        options: as they were asked for.
    """
    warnings: list[SerotineWarning] = []
    if coverage.truncated:
        warnings.append(
            TruncatedTextWarning(
                f"query: longer than the {coverage.limit:,} tokens that {encoder!r} reads, got {coverage.tokens:,}; "
                "the rest is ignored: shorten it",
            )
        )
    share = coverage.unknown_share(text)
    if share > UNKNOWN_SHARE:
        scripts = ", ".join(coverage.unknown_scripts(text)[:3])
        fault = f"query: {share:.0%} outside the vocabulary of {encoder!r} ({scripts}); "
        if options.mode == "late" and not options.exact:
            options = replace(options, mode="hybrid", fusion="rrf", weights=(1 - share, 1.0))
            consequence = 'ranked by mode="hybrid" instead of "late": by its words, and by what is known of it'
        else:
            consequence = 'MaxSim scores say little about it: search with mode="bm25"'
        warnings.append(UnknownTextWarning(fault + consequence))
    return CheckedQuery(options, tuple(warnings))


def search_checked(
    retriever: Retriever,
    options: SearchOptions,
    checked: Sequence[CheckedQuery],
    vectors: Sequence[NDArray[np.float32]],
    texts: Sequence[str | None],
    encoding: float,
) -> list[Hits]:
    """Return the hits of every query, searched with its own options; see `Retriever.search`."""
    alike = [i for i, query in enumerate(checked) if query.options is options]
    together = retriever.search(
        options, [vectors[i] for i in alike] if vectors else [], [texts[i] for i in alike], encoding
    )
    results = dict(zip(alike, together, strict=True))
    for i, query in enumerate(checked):
        if query.options is not options:
            (results[i],) = retriever.search(query.options, [vectors[i]], [texts[i]], encoding)
    return [results[i] for i in range(len(checked))]
