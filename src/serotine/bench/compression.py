"""Quality against compression: what bits, dimensions, pooling and candidates cost and save, on judged questions."""

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
from serotine.bench.encoded_collection import Encoded
from serotine.bench.index import recall
from serotine.bench.vectors import project, sampled_directions
from serotine.encoders import TokenPooling, cluster_means, cluster_tokens
from serotine.evaluation import Run, evaluate
from serotine.index import Index, first_training_at
from serotine.text_encoder import TextEncoder

# nDCG and recall are those of the first ten.
DEPTH = 10

Reduction = Literal["pca", "truncate"]


@dataclass(slots=True)
class OperatingPoint:
    """One operating point. The first attributes have the names they have in `serotine bench index`'s JSON.

    Attributes:
        engine: bits, dimensions and pooling in words.
        setting: candidates in words.
        k: hits asked for.
        p50_ms: median over queries, one thread, the query's encoding left out.
        p95_ms: 95th percentile.
        recall_at_10: share of the ten best of exact MaxSim over the whole, unpooled float16 vectors.
        ndcg_at_10: of the ten hits, against the judgements.
        nbits: bits a dimension; None for float16 vectors, all of them scored.
        dim: dimensions.
        pool_factor: document tokens merged into one.
        candidates: documents scored over their codes; None for the default.
        tokens: document vectors stored.
        bytes_per_token: bytes of all vectors, codes and codebooks over the tokens of the documents before pooling.
        build_seconds: building the index, vectors given.
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
    """What is tried, every combination of it.

    Attributes:
        nbits: bits a dimension: 2, 4, 8, or None for float16 vectors, all of them scored.
        dims: dimensions, at most the encoder's.
        pool_factors: document tokens merged into one, at least 1.
        candidates: documents scored over their codes; None for the default. Nothing to choose where nbits is None.
        reduction: how vectors get fewer dimensions: "pca" projects on the documents' principal directions (uncentred),
            "truncate" keeps the first ones, as `Encoder(dim=)` does.
        keep_vectors: whether the indexes keep float16 vectors beside the codes for exact final scores.
    """

    nbits: tuple[int | None, ...] = (2, 4, 8, None)
    dims: tuple[int, ...] = ()
    pool_factors: tuple[float, ...] = (1.0,)
    candidates: tuple[int | None, ...] = (None,)
    reduction: Reduction = "pca"
    keep_vectors: bool = False


Answer = Callable[[NDArray[np.float32]], tuple[list[int], list[float]]]


@dataclass(slots=True)
class _Contender:
    point: OperatingPoint
    query: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    answer: Answer


def measure_compression(
    encoded: Encoded,
    grid: Grid,
    folder: Path,
    *,
    pooling: TokenPooling | None = None,
    rounds: int = 3,
    timed: int = 50,
    say: Callable[[str], None],
) -> list[OperatingPoint]:
    """Build and evaluate every combination, then time all of them, query by query, on one thread.

    Every index gets codes, also of a collection so small (below 131,072 tokens) that an index would keep all vectors.

    Args:
        encoded: the collection.
        grid: what is tried.
        folder: where the indexes are built; removed afterwards.
        pooling: the encoder's own rules for merging; their factor is the grid's.
        rounds: how often every timed query is asked.
        timed: how many of the first queries are timed; all of them are judged.
        say: told what is being done.

    Returns:
        One point a combination, in the order of the grid.
    """
    say(f"exact MaxSim over {len(encoded.offsets) - 1:,} documents, for the truth")
    truth = [maxsim.top_k(query, encoded.vectors, encoded.offsets, DEPTH)[1].tolist() for query in encoded.queries]
    threads = maxsim.num_threads()
    opened: list[Index] = []
    contenders: list[_Contender] = []
    try:
        for contender in _contenders(encoded, grid, folder, pooling or TokenPooling(), opened, say):
            _judge(contender, encoded, truth)
            contenders.append(contender)
        say(f"timing {len(contenders)} ways to search")
        maxsim.set_num_threads(1)
        _time(contenders, encoded.queries[:timed], rounds)
    finally:
        maxsim.set_num_threads(threads)
        for index in opened:
            index.close()
        shutil.rmtree(folder, ignore_errors=True)
    return [contender.point for contender in contenders]


def _contenders(
    encoded: Encoded, grid: Grid, folder: Path, pooling: TokenPooling, opened: list[Index], say: Callable[[str], None]
) -> Iterator[_Contender]:
    whole = encoded.vectors.shape[1]
    for dim, factor in itertools.product(grid.dims or (whole,), grid.pool_factors):
        reduce = _reduction(encoded.vectors, dim, grid.reduction)
        documents = [
            _pooled(rows, factor, pooling) for rows in np.split(reduce(encoded.vectors), encoded.offsets[1:-1])
        ]
        tokens = sum(map(len, documents))
        for nbits in grid.nbits:
            bits = "float16" if nbits is None else f"{nbits} bits"
            engine = f"{bits}, {dim} dimensions" + (f", pooled {factor:g}:1" if factor > 1 else "")
            say(engine)
            blank = OperatingPoint(engine, "", DEPTH, 0, 0, 0, 0, nbits, dim, factor, None, tokens, 0, 0)
            name = engine.replace(" ", "-").replace(",", "").replace(":", "-")
            if nbits is None:
                yield _flat(documents, folder / f"{name}.npy", blank, reduce, encoded)
            else:
                yield from _coded(documents, nbits, folder / name, blank, reduce, encoded, grid, opened)


def _flat(
    documents: list[NDArray[np.float16]],
    file: Path,
    point: OperatingPoint,
    reduce: Callable[..., Any],
    encoded: Encoded,
) -> _Contender:
    packed = np.concatenate(documents)
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in documents])])
    file.parent.mkdir(parents=True, exist_ok=True)
    # Mapped, so that the memory of many such arrays can be taken back.
    np.save(file, packed)
    mapped = np.load(file, mmap_mode="r")

    def answer(query: NDArray[np.float32]) -> tuple[list[int], list[float]]:
        scores, numbers = maxsim.top_k(query, mapped, offsets, DEPTH)
        return numbers.tolist(), scores.tolist()

    return _Contender(
        replace(point, setting="every document", bytes_per_token=packed.nbytes / len(encoded.vectors)), reduce, answer
    )


def _coded(
    documents: list[NDArray[np.float16]],
    nbits: int,
    folder: Path,
    point: OperatingPoint,
    reduce: Callable[..., Any],
    encoded: Encoded,
    grid: Grid,
    opened: list[Index],
) -> Iterator[_Contender]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    index = Index.create(folder, dim=point.dim, nbits=nbits, keep_vectors=grid.keep_vectors)
    opened.append(index)
    # A small judged collection is measured as a larger one: with codes from the first token on.
    with first_training_at(1):
        index.add(ids=[str(i) for i in range(len(documents))], vectors=documents)
        # The newest documents too become codes.
        index.compact()
    seconds = time.perf_counter() - started
    size = index.stats().bytes / len(encoded.vectors)
    for candidates in grid.candidates:

        def answer(query: NDArray[np.float32], candidates: int | None = candidates) -> tuple[list[int], list[float]]:
            hits = index.search(query, k=DEPTH, candidates=candidates)
            return [int(hit.id) for hit in hits], [hit.score for hit in hits]

        setting = "default" if candidates is None else f"{candidates:,} candidates"
        yield _Contender(
            replace(point, setting=setting, candidates=candidates, bytes_per_token=size, build_seconds=seconds),
            reduce,
            answer,
        )


def _reduction(vectors: NDArray[np.float16], dim: int, how: Reduction) -> Callable[..., Any]:
    whole = vectors.shape[1]
    if dim == whole:
        return lambda rows: rows
    if how == "truncate":
        return lambda rows: project(rows[:, :dim], None).astype(rows.dtype)
    directions = sampled_directions(vectors, dim)
    return lambda rows: project(rows, directions).astype(rows.dtype)


def _pooled(rows: NDArray[np.float16], factor: float, pooling: TokenPooling) -> NDArray[np.float16]:
    if factor <= 1 or not len(rows):
        return rows
    wide = rows.astype(np.float32)
    members = cluster_tokens(wide, replace(pooling, factor=factor, normalize=True))
    return cluster_means(wide, members, normalize=True).astype(np.float16)


def _judge(contender: _Contender, encoded: Encoded, truth: Sequence[Sequence[int]]) -> None:
    ids = list(encoded.collection.documents)
    run: Run = {}
    answers = []
    for id_, query in zip(encoded.collection.queries, encoded.queries, strict=True):
        numbers, scores = contender.answer(contender.query(query))
        answers.append(numbers)
        run[id_] = {ids[number]: score for number, score in zip(numbers, scores, strict=True)}
    contender.point.recall_at_10 = recall(answers, truth, DEPTH)
    contender.point.ndcg_at_10 = evaluate(encoded.collection.qrels, run)["nDCG@10"]


def _time(contenders: Sequence[_Contender], queries: Sequence[NDArray[np.float32]], rounds: int) -> None:
    asked = [[contender.query(query) for query in queries] for contender in contenders]
    seconds: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds + 1):
        # The first round only warms up.
        for place in range(len(queries) if number else min(len(queries), 3)):
            for contender, own, times in zip(contenders, asked, seconds, strict=True):
                started = time.perf_counter()
                contender.answer(own[place])
                if number:
                    times.append((time.perf_counter() - started) * 1e3)
    for contender, times in zip(contenders, seconds, strict=True):
        contender.point.p50_ms = statistics.median(times)
        contender.point.p95_ms = float(np.percentile(times, 95))


def compression_result(
    encoded: Encoded, grid: Grid, encoder: TextEncoder, points: Sequence[OperatingPoint]
) -> dict[str, Any]:
    """What goes into the JSON, beside machine and rounds."""
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
