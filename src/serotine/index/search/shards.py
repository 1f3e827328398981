"""Shards: rankings of the shards of a collection, merged into rankings of the collection.

Shards number their documents by themselves. In the collection a document's number begins with its shard's, so that ties
go to the lower shard, and within it to the document added first: a sharded collection answers like one index to which
the documents of its shards were added one shard after the other.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from serotine.index.hits import Certificate, Partial
from serotine.index.search.effort import Effort
from serotine.index.search.plan import Ranking, proof_advice

# A shard has fewer documents than that; shards are few enough that numbers fit 64 bits.
_NUMBERS = 1 << 44
_SHOWN = 10

Scored = tuple[int, float]


def collection_number(shard: int, number: int) -> int:
    """Return the number in the collection of a shard's document."""
    return shard * _NUMBERS + number


def by_shard(numbers: Iterable[int]) -> dict[int, list[int]]:
    """Return numbers of the collection as those of their shards, in order."""
    numbers_of: dict[int, list[int]] = {}
    for number in numbers:
        numbers_of.setdefault(number // _NUMBERS, []).append(number % _NUMBERS)
    return numbers_of


def merge_late(rankings: Mapping[int, Ranking], depth: int, *, has_vectors: bool, partial: Partial | None) -> Ranking:
    """Merge the rankings of one query by MaxSim.

    Args:
        rankings: of every shard that was searched, its `depth` best; with certificates or without any.
        depth: number of documents to rank.
        has_vectors: whether every shard stores vectors, so that all scores are exact.
        partial: the shards that were not searched.
    """
    best = _best(
        {shard: [*zip(ranking.numbers, ranking.scores, strict=True)] for shard, ranking in rankings.items()}, depth
    )
    scores, numbers = [score for _, score in best], [number for number, _ in best]
    ranked = sum(len(ranking.numbers) for ranking in rankings.values())
    counts: dict[str, int] = {"allowed": 0}
    milliseconds: dict[str, float] = {}
    for ranking in rankings.values():
        for stage, count in ranking.counts.items():
            counts[stage] = counts.get(stage, 0) + count
        for stage, spent in ranking.milliseconds.items():
            # Shards work at the same time.
            milliseconds[stage] = max(milliseconds.get(stage, 0.0), spent)
    certificates = [ranking.certificate for ranking in rankings.values() if ranking.certificate is not None]
    certificate = None
    if certificates:
        left_out = _highest_left_out(rankings, numbers)
        certificate = merge_certificates(
            certificates, scores, left_out, ranked - len(best), counts["allowed"],
            has_vectors=has_vectors, partial=partial,
        )  # fmt: skip
    return Ranking(
        scores,
        numbers,
        " / ".join(dict.fromkeys(ranking.plan for ranking in rankings.values())),
        counts,
        sum(ranking.tokens for ranking in rankings.values()),
        milliseconds,
        certificate,
        dict(zip(numbers, scores, strict=True)),
        _merged_effort([ranking.effort for ranking in rankings.values()]),
    )


def merge_lexical(rankings: Mapping[int, Sequence[Sequence[Scored]]], k: int) -> list[Scored]:
    """Merge the rankings of one query by BM25.

    Args:
        rankings: of every shard that was searched: its k best documents by the words that the collection is searched
            for, and where these give it fewer, by those that it is searched for instead.
        k: number of documents to rank.
    """
    best: list[Scored] = []
    for attempt in range(max((len(of_shard) for of_shard in rankings.values()), default=0)):
        # A shard without this attempt had k hits before, and so had the collection.
        present = {shard: of_shard[attempt] for shard, of_shard in rankings.items() if attempt < len(of_shard)}
        best = _best(present, k)
        if len(best) == k:
            break
    return best


def merge_certificates(
    certificates: Sequence[Certificate],
    scores: Sequence[float],
    left_out: float,
    count_left_out: int,
    documents: int,
    *,
    has_vectors: bool,
    partial: Partial | None,
) -> Certificate:
    """Return what the certificates of shards prove of the collection.

    Every shard proves that its documents outside its own best have at most its bound. Those best have exact scores
    where vectors are stored, so the merged hits are the best of all documents if no bound, and no score left out in
    merging, is above the last hit.

    Args:
        certificates: of every shard that was searched.
        scores: of the merged hits, best first.
        left_out: highest score of a shard's hit that is not among them; -inf where there is none.
        count_left_out: number of such hits.
        documents: number of documents that could have been hits.
        has_vectors: whether every shard stores vectors.
        partial: the shards that were not searched.
    """
    kth = scores[-1] if scores else -math.inf
    bound = max([left_out, *(certificate.bound for certificate in certificates)])
    rescored = sum(certificate.rescored for certificate in certificates)
    undecided = sum(certificate.undecided for certificate in certificates)
    shards = f"{len(certificates):,} shard{'' if len(certificates) == 1 else 's'}"
    of_all = f"{documents:,} documents of {shards}"
    all_proved = all(certificate.exact for certificate in certificates)
    if has_vectors:
        exact = all_proved and bound <= kth
        rest = max(documents - rescored, 0)
        statement = (
            f"Exact: {rescored:,} of {of_all} were scored over their float16 vectors"
            + (f"; no bound of the other {rest:,} reaches the last hit's score." if rest else ".")
            if exact
            else f"Not proved: a bound of {of_all} is above the last hit's score."
        )
    else:
        # Scores over codes are estimates: between documents of different shards they decide nothing.
        exact = all_proved and not count_left_out
        undecided += 0 if exact else count_left_out
        statement = (
            f"Exact: every document that a shard could not exclude, of {of_all}, is a hit; their order is estimated."
            if exact
            else "Not proved: vectors are not stored, and the error bounds of the codes leave "
            f"{undecided:,} of {of_all} that could belong among the hits. {proof_advice()}"
        )
    if partial is None:
        return Certificate(exact, kth, bound, rescored, undecided, statement)
    return Certificate(
        False, kth, math.inf, rescored, undecided,
        f"Not proved for the whole index: {partial.statement}. Of the shards searched: {statement}",
        exact_among_searched=exact,
    )  # fmt: skip


def partial_search(shards: int, missing: Mapping[int, str]) -> Partial | None:
    """Return what a search has left out.

    Args:
        shards: number of shards.
        missing: the reason why each missing shard was not searched.
    """
    if not missing:
        return None
    numbers = tuple(sorted(missing))
    searched = tuple(shard for shard in range(shards) if shard not in missing)
    reasons = ", ".join(f"{shard} ({missing[shard]})" for shard in numbers[:_SHOWN])
    named = "shards" if len(numbers) > 1 else "shard"
    more = f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else ""
    statement = f"only {len(searched):,} of {shards:,} shards were searched, not {named} {reasons}{more}"
    return Partial(searched, numbers, statement)


def _best(rankings: Mapping[int, Sequence[Scored]], k: int) -> list[Scored]:
    """Return the k best of the shards' rankings, each best first, ties to the lower shard and number."""
    numbered = (
        [(-score, collection_number(shard, number)) for number, score in ranking] for shard, ranking in rankings.items()
    )
    return [(number, -score) for score, number in itertools.islice(heapq.merge(*numbered), k)]


def _highest_left_out(rankings: Mapping[int, Ranking], hits: Sequence[int]) -> float:
    """Return the highest score of a shard's document that is not among the merged hits; -inf where all are."""
    taken = Counter(number // _NUMBERS for number in hits)
    # The hits of a shard are the first of its ranking.
    firsts = (ranking.scores[taken[shard] : taken[shard] + 1] for shard, ranking in rankings.items())
    return max(itertools.chain.from_iterable(firsts), default=-math.inf)


def _merged_effort(efforts: Sequence[Effort]) -> Effort:
    """Return the effort of a search of shards: at least the share of the worst of them is found."""
    candidates = [effort.candidates for effort in efforts if effort.candidates is not None]
    return Effort(
        max(candidates, default=None),
        _least([effort.expected_recall for effort in efforts]),
        _least([effort.recall_lower_bound for effort in efforts]),
    )


def _least(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return min(known) if known and len(known) == len(shares) else None
