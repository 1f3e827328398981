"""Searches whose ranking is checked: by words too where the encoder does not know the query, or what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serotine.coverage import UNKNOWN_SHARE, by_words_advice, main_scripts, with_wordless_advice
from serotine.errors import UnknownTextWarning
from serotine.index.hits import Hits
from serotine.index.query_checks import CheckedQuery, ranked_by_words
from serotine.index.search import Documents, Queries, Retriever, SearchOptions
from serotine.model_packages import create_multilingual, multilingual_advice

# Of the first page: above it, what is ranked is mostly noise.
_MAX_UNKNOWN = 0.5


class CheckedSearch:
    """Searches of documents, each query with the options that its check gave it.

    Args:
        documents: an index's, or those of shards.
        encoder: the name of their encoder.
    """

    def __init__(self, documents: Documents, encoder: str | None) -> None:
        self._documents = documents
        self._encoder = encoder or ""
        self._retriever = Retriever(documents)

    def search(
        self,
        options: SearchOptions,
        checked: Sequence[CheckedQuery],
        queries: Queries,
        encoding: float,
        *,
        checks_hits: bool,
    ) -> list[tuple[CheckedQuery, Hits]]:
        """Return every query with its hits; see `Retriever.search`.

        Where the encoder knows a query, but not most documents of its first page by MaxSim, they are ranked by words
        too, and the query has a warning about it, if `checks_hits`.
        """
        alike = [i for i, query in enumerate(checked) if query.options is options]
        together = self._retriever.search(options, queries.at(alike), encoding)
        results = dict(zip(alike, together, strict=True))
        answers = []
        for i, query in enumerate(checked):
            one = queries.at([i])
            if query.options is not options:
                answer = query, self._retriever.search(query.options, one, encoding)[0]
            else:
                answer = query, results[i]
                if checks_hits and one.texts[0] is not None and one.vectors:
                    answer = self._checked(query, results[i], one, encoding)
            answers.append(answer)
        return answers

    def _checked(self, query: CheckedQuery, hits: Hits, one: Queries, encoding: float) -> tuple[CheckedQuery, Hits]:
        options = query.options
        ids = [hit.id for hit in hits]
        if (options.offset or options.mode == "hybrid") and self._documents.has_unknown():
            # Every page must be ranked in the same way, and so must both modes.
            first_page = self._retriever.search(options.first_page_by_maxsim(), one, encoding)[0]
            ids = [hit.id for hit in first_page]
        scripts = self._documents.unknown_scripts(ids)
        check = check_hits([(id_, scripts.get(id_)) for id_ in ids], self._encoder, options)
        if check is None:
            return query, hits
        if check.options is not options:
            (hits,) = self._retriever.search(check.options, one, encoding)
        return replace(query, options=check.options, warnings=(*query.warnings, check.warning)), hits


@dataclass(frozen=True, slots=True)
class HitsCheck:
    """What to do where the encoder does not know most documents of a first page.

    Attributes:
        options: those of a search by words too; the same object where the search asked for MaxSim.
        warning: about the documents.
    """

    options: SearchOptions
    warning: UnknownTextWarning


def check_hits(page: Sequence[tuple[str, str | None]], encoder: str, options: SearchOptions) -> HitsCheck | None:
    """Check the documents of a first page by MaxSim; None where the encoder knows enough of them.

    Args:
        page: the id of every document, and its main script where it is outside the encoder's vocabulary.
        encoder: the encoder's name.
        options: as they were asked for.
    """
    unknown = [(id_, script) for id_, script in page if script is not None]
    share = len(unknown) / max(len(page), 1)
    if share <= _MAX_UNKNOWN:
        return None
    fix = by_words_advice()
    consequence = "MaxSim scores say little about them"
    if by_words := ranked_by_words(options, 1 - share, whose="their", what="them"):
        options, consequence = by_words
        fix = multilingual_advice(create_multilingual(), encoder)
    counts = Counter(script for _, script in unknown)
    named = main_scripts(script for script, _ in counts.most_common())
    advice = with_wordless_advice(fix, counts)
    warning = UnknownTextWarning(
        f"hits: {len(unknown):,} of the first {len(page):,} more than {UNKNOWN_SHARE:.0%} outside the vocabulary of "
        f"{encoder!r} ({named}), the first is {unknown[0][0]!r}; {consequence}{advice and f'; {advice}'}"
    )
    return HitsCheck(options, warning)
