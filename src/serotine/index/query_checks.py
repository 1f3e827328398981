"""Queries longer than the encoder reads, or outside its vocabulary: warnings, and the options that are used instead."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serotine.coverage import UNKNOWN_SHARE, TextCoverage, by_words_advice, main_scripts, with_wordless_advice
from serotine.errors import SerotineWarning, TruncatedTextWarning, UnknownTextWarning, invalid
from serotine.index.search import SearchOptions
from serotine.wording import worded


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


def ranked_by_words(options: SearchOptions, known: float, *, whose: str, what: str) -> tuple[SearchOptions, str] | None:
    """Return the options of a hybrid search whose late ranking has the weight of what is known, and words for it.

    Mode "late" becomes "hybrid". Searches that ask for MaxSim, XTR, pooled vectors or weights of their own stay: None.

    Args:
        options: as they were asked for.
        known: the share that the encoder knows.
        whose: of the words, such as "its".
        what: is known in part, such as "it".
    """
    if options.exact or options.mode in ("xtr", "pooled") or (options.mode == "hybrid" and options.weights is not None):
        return None
    instead = worded(
        'by mode="hybrid" instead of "late": ',
        http="by words and meaning instead of meaning alone: ",
        command="by --mode hybrid instead of late: ",
    )
    instead = instead if options.mode == "late" else ""
    consequence = f"ranked {instead}by {whose} words, and by what is known of {what}"
    return replace(options, mode="hybrid", weights=(known, 1.0)), consequence


def check_min_score(options: SearchOptions, *, normalizes: bool, encoder: str) -> None:
    """Raise ValueError for a `min_score` that says nothing, where the encoder's vectors have length 1."""
    if normalizes and options.min_score is not None and not 0 <= options.min_score <= 1:
        fix = f"scores per token of {encoder!r} are cosines"
        raise invalid("min_score", "between 0 and 1", options.min_score, fix=fix)


def check_query(text: str, coverage: TextCoverage, encoder: str, options: SearchOptions) -> CheckedQuery:
    """Check one query.

    Where more than 20% of its characters are outside the encoder's vocabulary, MaxSim cannot tell documents apart.
    Mode "late" then becomes "hybrid", in which the late ranking has the weight of what is known; `exact` asks for
    MaxSim, and stays. So do weights that were given for mode "hybrid".

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
        scripts = coverage.unknown_scripts(text)
        fault = f"query: {share:.0%} outside the vocabulary of {encoder!r} ({main_scripts(scripts)}); "
        fix = by_words_advice()
        consequence = "MaxSim scores say little about it"
        if by_words := ranked_by_words(options, 1 - share, whose="its", what="it"):
            (options, consequence), fix = by_words, ""
        advice = with_wordless_advice(fix, scripts)
        warnings.append(UnknownTextWarning(f"{fault}{consequence}{advice and f'; {advice}'}"))
    return CheckedQuery(options, tuple(warnings))
