"""The weights of mode "pooled", fitted on judged queries of an index's collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serotine.errors import wrong_type
from serotine.evaluation.data import identical_ids
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.metrics import Run, evaluate, validate_metrics
from serotine.evaluation.systems.base import encoder_for_collection
from serotine.evaluation.systems.index import document_notes
from serotine.index import SearchOptions
from serotine.progress import progress_bar
from serotine.texts import has_visible

if TYPE_CHECKING:
    from serotine.index import Index

POOLED_WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
_BATCH_SIZE = 64
# For a metric of the whole run.
_DEPTH = 100


@dataclass(frozen=True, slots=True)
class FittedWeights:
    """What fitting the weights of mode "pooled" found.

    Attributes:
        weights: of MaxSim per query token, which is 1, and of the pooled vectors.
        metric: what was maximized.
        with_pooled: its value with these weights, on the queries they were fitted on: judge them on others.
        without: its value by MaxSim alone.
        by_weight: its value by the weight of the pooled vectors.
        queries: number of judged queries.
        notes: where the index and the collection have different documents: then the weights may not suit the index.

    >>> from serotine.evaluation import FittedWeights
    >>> FittedWeights((1.0, 0.5), "nDCG@10", 0.42, 0.4, {0.0: 0.4, 0.5: 0.42}, 225).statement
    'Weights (1, 0.5) of 2 pairs: nDCG@10 0.4200, 0.4000 by MaxSim alone; 225 queries.'
    """

    weights: tuple[float, float]
    metric: str
    with_pooled: float
    without: float
    by_weight: dict[float, float]
    queries: int
    notes: tuple[str, ...] = ()

    @property
    def statement(self) -> str:
        """The outcome in words."""
        late, pooled = self.weights
        figures = f"{self.metric} {self.with_pooled:.4f}, {self.without:.4f} by MaxSim alone"
        return f"Weights ({late:g}, {pooled:g}) of {len(self.by_weight)} pairs: {figures}; {self.queries:,} queries."


def fit_pooled_weights(
    index: Index,
    collection: Collection,
    *,
    metric: str = "nDCG@10",
    weights: Sequence[float] = POOLED_WEIGHTS,
    record: bool = True,
    show_progress: bool = False,
) -> FittedWeights:
    """Choose the weight of an index's pooled vectors that ranks best, and record it for searches without weights.

    Every query is searched with every weight. The least of the best weights is chosen; 0, the index as
    it is without pooled vectors, is always among them.

    Args:
        index: with pooled vectors of a model, of the collection's documents; open for writing unless `record` is False.
        collection: with development queries and their judgements, never those that are tested: ``load_beir(folder,
            "train")``.
        metric: to maximize.
        weights: of the pooled vectors, beside 1 for MaxSim per query token.
        record: whether to record the weights in the index.
        show_progress: draw a bar on standard error.

    Raises:
        EncoderError: the index stores no pooled vectors, or callers give them, so that queries cannot be encoded.
        SerotineError: the index contains none of the collection's documents.
        ValueError, TypeError: the collection has no judged queries, or an invalid argument.
        ReadOnlyError: `index` is not open for writing.

    >>> from serotine import Index
    >>> from serotine.evaluation import Collection, fit_pooled_weights
    >>> toy = Collection("toy", {"a": "owls hunt", "b": "bees"}, {"q": "night birds"}, {"q": {"a": 1}})
    >>> def fitted(dense_model: str) -> float:
    ...     with Index.create("toy.pooled", pooled=dense_model) as index:
    ...         index.add(ids=list(toy.documents), texts=list(toy.documents.values()))
    ...         return fit_pooled_weights(index, toy).weights[1]
    """
    if not isinstance(collection, Collection):
        raise wrong_type("collection", "a Collection, such as load_beir returns", collection)
    tried = sorted({0.0, *(_checked(weight) for weight in weights)})
    judged = [query for query, text in collection.queries.items() if has_visible(text) and collection.qrels.get(query)]
    if not judged:
        raise ValueError(f"collection: {collection.name} has no judged queries; pass a split that has")
    notes, is_cut = document_notes(index, collection)
    rule = identical_ids.default_rule(collection.benchmark)
    drop = identical_ids.drops_identical(rule, collection.name)
    depth = (validate_metrics([metric])[metric] or _DEPTH) + drop
    texts = [collection.queries[query] for query in judged]
    pooled = index.pooled_encoder.encode_pooled(texts, query=True)
    tokens = encoder_for_collection(index.encoder, collection).encode_queries(texts)
    qrels = {query: collection.qrels[query] for query in judged}
    values: dict[float, float] = {}
    with progress_bar(len(tried) * len(judged), "Fitting weights", enabled=show_progress) as advance:
        for weight in tried:
            run: Run = {}
            for start in range(0, len(judged), _BATCH_SIZE):
                batch = slice(start, start + _BATCH_SIZE)
                results = index.search_batch(
                    tokens[batch],
                    depth,
                    mode="pooled",
                    weights=(1.0, weight),
                    pooled=pooled[batch],
                    group_by="document" if is_cut else None,
                )
                for query, hits in zip(judged[batch], results, strict=True):
                    run[query] = {hit.document if is_cut else hit.id: hit.score for hit in hits}
                advance(len(results))
            kept, _ = identical_ids.drop_identical(run, depth - drop, drop=drop)
            values[weight] = evaluate(qrels, kept, [metric])[metric]
    best = max(tried, key=lambda weight: (values[weight], -weight))
    if record:
        index.set_pooled_weights(1.0, best)
    return FittedWeights((1.0, best), metric, values[best], values[0.0], values, len(judged), tuple(notes))


def _checked(weight: float) -> float:
    """Return a weight of the pooled vectors that a search accepts."""
    weights = SearchOptions(mode="pooled", weights=(1.0, weight)).weights
    return 0.0 if weights is None else weights[1]
