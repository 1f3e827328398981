"""Searches of several indexes as one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from serotine.errors import SerotineWarning, WeakMatchWarning
from serotine.index.checked_search import check_hits
from serotine.index.hits import Hits
from serotine.index.merging import MergedHit, merge_hits
from serotine.index.search import SearchOptions
from serotine.index.searcher import OpenSearch
from serotine.index.weak_matches import merged_warnings
from serotine.issued_warnings import muted_warnings


class Searchable(Protocol):
    """What several indexes are searched by: an `Index`, or an index in shards."""

    def _open_search(self) -> AbstractContextManager[OpenSearch]:
        """Return the index as one search reads it."""
        ...


@dataclass(frozen=True, slots=True)
class SeveralHits:
    """The hits of several indexes for one query.

    Attributes:
        results: the hits of every index.
        merged: the hits among all, best first, those that `offset` skips left out.
        warnings: of the query and of the hits, each once.
    """

    results: list[Hits]
    merged: list[MergedHit]
    warnings: list[SerotineWarning]


def search_several(indexes: Sequence[Searchable], query: str, options: SearchOptions) -> SeveralHits:
    """Return the best documents of several indexes; no warning is issued, they are returned.

    Whether the encoder knows enough of what is found is decided once, over the first page of all: otherwise an index
    whose texts it does not know would change how those of the others are ranked.

    Raises:
        Every error of `Index.search`.
    """
    with ExitStack() as stack:
        return _search([stack.enter_context(index._open_search()) for index in indexes], query, options)


def _search(searches: Sequence[OpenSearch], query: str, options: SearchOptions) -> SeveralHits:
    identities = {(opened.settings.encoder, opened.settings.fingerprint) for opened in searches}
    one_encoder = len(identities) == 1

    def search(options: SearchOptions) -> list[Hits]:
        # Which hits are skipped is known once those of all indexes are merged.
        deep = replace(options, k=options.depth, offset=0)
        with muted_warnings():
            return [opened.hits([query], deep, checks_hits=False)[0] for opened in searches]

    results = search(options)
    # A query that the encoder does not know is ranked by words already.
    is_checked = options.mode != "bm25" and not any(hits.has_unknown_text for hits in results)
    if is_checked and any(opened.documents.has_unknown() for opened in searches):
        is_late = options.mode in ("late", "xtr")
        by_maxsim = results if is_late else search(options.first_page_by_maxsim())
        page = merge_hits(by_maxsim, one_encoder=one_encoder)[: options.k]
        scripts = [
            opened.documents.unknown_scripts([by_maxsim[i][hit.position].id for hit in page if hit.result == i])
            for i, opened in enumerate(searches)
        ]
        ids = [(hit.result, by_maxsim[hit.result][hit.position].id) for hit in page]
        encoder = next((searches[i].settings.encoder for i, id_ in ids if id_ in scripts[i]), None)
        check = check_hits([(id_, scripts[i].get(id_)) for i, id_ in ids], encoder or "", options)
        if check is not None:
            if check.options is not options:
                results = search(check.options)
            results = [_warned(hits, check.warning) for hits in results]
    merged = merge_hits(results, one_encoder=one_encoder)[options.offset : options.depth]
    return SeveralHits(results, merged, merged_warnings(results))


def _warned(hits: Hits, warning: SerotineWarning) -> Hits:
    """Return hits with a warning that MaxSim says little, and so without one that it is low."""
    others = [other for other in hits.warnings if not isinstance(other, WeakMatchWarning)]
    return replace(hits, warnings=(*others, warning))
