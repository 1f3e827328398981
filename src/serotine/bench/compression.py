"""Quality against compression: bits, dimensions, pooling and candidates, evaluated on a judged collection."""

from __future__ import annotations

import itertools
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.bench.encoded_collection import EncodedCollection
from serotine.bench.index import recall
from serotine.bench.vectors import project, sampled_directions
from serotine.encoders import TokenPooling, cluster_means, cluster_tokens
from serotine.evaluation import Run, evaluate
from serotine.index import Index, first_training_at
from serotine.text_encoder import TextEncoder

# The cutoff of nDCG and recall.
DEPTH = 10

Reduction = Literal["pca", "truncate"]


@dataclass(slots=True)
class OperatingPoint:
    """Cost and quality of one combination of settings; names shared with `serotine bench index`'s JSON mean the same.

    Attributes:
        engine: description of bits, dimensions and pooling.
        setting: description of the candidates.
        k: hits requested.
        p50_ms: median over queries, on one thread, without encoding the query.
        p95_ms: 95th percentile.
        recall_at_10: share of the ten best of exact MaxSim over full-size, unpooled float16 vectors.
        ndcg_at_10: nDCG of the ten hits.
        nbits: bits per dimension; None for float16 vectors, all of them scored.
        dim: dimensions.
        pool_factor: document tokens merged into one.
        candidates: documents scored over their codes; None for the default.
        tokens: document vectors stored.
        bytes_per_token: bytes of all vectors, codes and codebooks over the tokens of the documents before pooling.
        build_seconds: time to build the index, without encoding.
    """

    engine: str
    setting: str
    k: int
    p50_ms: float
    p95_ms: float
    recall_at_10: float
    ndcg_at_10: float
    nbits: int | None
    dim: int
    pool_factor: float
    candidates: int | None
    tokens: int
    bytes_per_token: float
    build_seconds: float


@dataclass(frozen=True, slots=True)
class Grid:
    """Settings to evaluate, in every combination.

    Attributes:
        nbits: bits per dimension: 2, 4, 8, or None for float16 vectors, all of them scored.
        dims: dimensions, at most the encoder's.
        pool_factors: document tokens merged into one, at least 1.
        candidates: documents scored over their codes; None for the default. Has no effect where nbits is None.
        reduction: how vectors get fewer dimensions: "pca" projects on the documents' principal directions (uncentered),
            "truncate" uses the first ones, as `Encoder(dim=)` does.
        keep_vectors: whether the indexes store float16 vectors beside the codes for exact final scores.
    """

    nbits: tuple[int | None, ...] = (2, 4, 8, None)
    dims: tuple[int, ...] = ()
    pool_factors: tuple[float, ...] = (1.0,)
    candidates: tuple[int | None, ...] = (None,)
    reduction: Reduction = "pca"
    keep_vectors: bool = False


Search = Callable[[NDArray[np.float32]], tuple[list[int], list[float]]]
Reduce = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(slots=True)
class _Contender:
    point: OperatingPoint
    reduce: Reduce
    search: Search


def measure_compression(
    encoded: EncodedCollection,
    grid: Grid,
    folder: Path,
    *,
    pooling: TokenPooling | None = None,
    rounds: int = 3,
    timed: int = 50,
    log: Callable[[str], None],
) -> list[OperatingPoint]:
    """Build and evaluate every combination, then time all of them, query by query, on one thread.

    Every index gets codes, even of a collection below 131,072 tokens, where an index would still store all vectors.

    Args:
        encoded: the collection.
        grid: the settings.
        folder: where the indexes are built; removed afterwards.
        pooling: how the encoder merges tokens; the grid sets the factor.
        rounds: how many times every timed query is run.
        timed: how many of the first queries are timed; all of them are evaluated.
        log: called with a line per step.

    Returns:
        One point per combination, in the order of the grid.
    """
    log(f"computing exact MaxSim over {len(encoded.offsets) - 1:,} documents")
    truth = [maxsim.top_k(query, encoded.vectors, encoded.offsets, DEPTH)[1].tolist() for query in encoded.queries]
    threads = maxsim.num_threads()
    opened: list[Index] = []
    contenders: list[_Contender] = []
    try:
        for contender in _contenders(encoded, grid, folder, pooling or TokenPooling(), opened, log):
            _evaluate(contender, encoded, truth)
            contenders.append(contender)
        log(f"timing {len(contenders)} combinations")
        maxsim.set_num_threads(1)
        _time(contenders, encoded.queries[:timed], rounds)
    finally:
        maxsim.set_num_threads(threads)
        for index in opened:
            index.close()
        shutil.rmtree(folder, ignore_errors=True)
    return [contender.point for contender in contenders]


def _contenders(
    encoded: EncodedCollection,
    grid: Grid,
    folder: Path,
    pooling: TokenPooling,
    opened: list[Index],
    log: Callable[[str], None],
) -> Iterator[_Contender]:
    """Build every combination of the grid; append the indexes to `opened`, for the caller to close."""
    for dim, factor in itertools.product(grid.dims or (encoded.vectors.shape[1],), grid.pool_factors):
        reduce = _reduction(encoded.vectors, dim, grid.reduction)
        documents = [_pool(rows, factor, pooling) for rows in np.split(reduce(encoded.vectors), encoded.offsets[1:-1])]
        tokens = sum(map(len, documents))
        for nbits in grid.nbits:
            bits = "float16" if nbits is None else f"{nbits} bits"
            engine = f"{bits}, {dim} dimensions" + (f", pooled {factor:g}:1" if factor > 1 else "")
            log(engine)
            point = OperatingPoint(engine, "", DEPTH, 0, 0, 0, 0, nbits, dim, factor, None, tokens, 0, 0)
            name = engine.replace(" ", "-").replace(",", "").replace(":", "-")
            if nbits is None:
                yield _build_flat(documents, folder / f"{name}.npy", point, reduce, encoded)
            else:
                yield from _build_index(documents, nbits, folder / name, point, reduce, encoded, grid, opened)


def _build_flat(
    documents: list[NDArray[np.float16]],
    file: Path,
    point: OperatingPoint,
    reduce: Reduce,
    encoded: EncodedCollection,
) -> _Contender:
    packed = np.concatenate(documents)
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in documents])])
    file.parent.mkdir(parents=True, exist_ok=True)
    # Mapped, so that the system can reclaim the memory of many such arrays.
    np.save(file, packed)
    mapped = np.load(file, mmap_mode="r")

    def search(query: NDArray[np.float32]) -> tuple[list[int], list[float]]:
        scores, numbers = maxsim.top_k(query, mapped, offsets, DEPTH)
        return numbers.tolist(), scores.tolist()

    return _Contender(
        replace(point, setting="every document", bytes_per_token=packed.nbytes / len(encoded.vectors)), reduce, search
    )


def _build_index(
    documents: list[NDArray[np.float16]],
    nbits: int,
    folder: Path,
    point: OperatingPoint,
    reduce: Reduce,
    encoded: EncodedCollection,
    grid: Grid,
    opened: list[Index],
) -> Iterator[_Contender]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    index = Index.create(folder, dim=point.dim, nbits=nbits, keep_vectors=grid.keep_vectors)
    opened.append(index)
    # Codes from the first token on: a small judged collection represents a larger one.
    with first_training_at(1):
        index.add(ids=[str(i) for i in range(len(documents))], vectors=documents)
        # Encodes the newest documents too.
        index.compact()
    seconds = time.perf_counter() - started
    size = index.stats().bytes / len(encoded.vectors)
    for candidates in grid.candidates:

        def search(query: NDArray[np.float32], candidates: int | None = candidates) -> tuple[list[int], list[float]]:
            hits = index.search(query, k=DEPTH, candidates=candidates)
            return [int(hit.id) for hit in hits], [hit.score for hit in hits]

        setting = "default" if candidates is None else f"{candidates:,} candidates"
        yield _Contender(
            replace(point, setting=setting, candidates=candidates, bytes_per_token=size, build_seconds=seconds),
            reduce,
            search,
        )


def _reduction(vectors: NDArray[np.float16], dim: int, reduction: Reduction) -> Reduce:
    if dim == vectors.shape[1]:
        return lambda rows: rows
    if reduction == "truncate":
        return lambda rows: project(rows[:, :dim], None).astype(rows.dtype)
    directions = sampled_directions(vectors, dim)
    return lambda rows: project(rows, directions).astype(rows.dtype)


def _pool(rows: NDArray[np.float16], factor: float, pooling: TokenPooling) -> NDArray[np.float16]:
    if factor <= 1 or not len(rows):
        return rows
    vectors = rows.astype(np.float32)
    members = cluster_tokens(vectors, replace(pooling, factor=factor, normalize=True))
    return cluster_means(vectors, members, normalize=True).astype(np.float16)


def _evaluate(contender: _Contender, encoded: EncodedCollection, truth: Sequence[Sequence[int]]) -> None:
    ids = list(encoded.collection.documents)
    run: Run = {}
    rankings = []
    for id_, query in zip(encoded.collection.queries, encoded.queries, strict=True):
        numbers, scores = contender.search(contender.reduce(query))
        rankings.append(numbers)
        run[id_] = {ids[number]: score for number, score in zip(numbers, scores, strict=True)}
    contender.point.recall_at_10 = recall(rankings, truth, DEPTH)
    contender.point.ndcg_at_10 = evaluate(encoded.collection.qrels, run)["nDCG@10"]


def _time(contenders: Sequence[_Contender], queries: Sequence[NDArray[np.float32]], rounds: int) -> None:
    reduced_queries = [[contender.reduce(query) for query in queries] for contender in contenders]
    milliseconds: list[list[float]] = [[] for _ in contenders]
    for round_ in range(rounds + 1):
        # Round 0 only warms up.
        for i in range(len(queries) if round_ else min(len(queries), 3)):
            for contender, reduced, times in zip(contenders, reduced_queries, milliseconds, strict=True):
                started = time.perf_counter()
                contender.search(reduced[i])
                if round_:
                    times.append((time.perf_counter() - started) * 1e3)
    for contender, times in zip(contenders, milliseconds, strict=True):
        contender.point.p50_ms = statistics.median(times)
        contender.point.p95_ms = float(np.percentile(times, 95))


def compression_result(
    encoded: EncodedCollection, grid: Grid, encoder: TextEncoder, points: Sequence[OperatingPoint]
) -> dict[str, Any]:
    """Return the JSON result, except for the machine and the rounds."""
    return {
        "collection": {
            "name": encoded.collection.name,
            "documents": len(encoded.collection.documents),
            "queries": len(encoded.queries),
            "tokens": len(encoded.vectors),
            "dim": encoded.vectors.shape[1],
            "encoder": encoder.name,
        },
        "reduction": grid.reduction,
        "keep_vectors": grid.keep_vectors,
        "searched": [asdict(point) for point in points],
    }
