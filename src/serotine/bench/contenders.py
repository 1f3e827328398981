"""Ways to compute the same scores: ours, and what people use instead. A peer that is not installed is left out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine import maxsim
from serotine.bench.workloads import Workload

Scores = NDArray[np.float64]
# A padded float32 copy above this would crowd the machine out of memory.
_MOST_PADDED_BYTES = 4 << 30


@dataclass(frozen=True)
class Contender:
    """One way to score a workload.

    Attributes:
        name: as the results call it.
        exact: whether it claims exact MaxSim over the float32 input.
        bytes_per_value: size of one stored value, for the share of memory bandwidth.
        run: computes all the scores, (queries, documents).
    """

    name: str
    exact: bool
    bytes_per_value: int
    run: Callable[[], Any]


def ours(work: Workload) -> list[Contender]:
    """Serotine in every dtype; conversion and quantisation are done beforehand, as an index would have."""
    offsets = work.offsets
    found = [
        Contender("serotine fp32", True, 4, lambda: maxsim.score_contrastive(work.queries, work.documents, offsets))
    ]
    half_queries, half = work.queries.astype(np.float16), work.documents.astype(np.float16)
    found.append(Contender("serotine fp16", False, 2, lambda: maxsim.score_contrastive(half_queries, half, offsets)))
    if importlib.util.find_spec("ml_dtypes"):
        import ml_dtypes

        brain_queries, brain = (x.astype(ml_dtypes.bfloat16) for x in (work.queries, work.documents))
        found.append(
            Contender("serotine bf16", False, 2, lambda: maxsim.score_contrastive(brain_queries, brain, offsets))
        )
    query_codes, query_scales = maxsim.quantize(work.queries)
    codes, scales = maxsim.quantize(work.documents)
    found.append(
        Contender(
            "serotine int8",
            False,
            1,
            lambda: maxsim.score_contrastive(
                query_codes, codes, offsets, query_scales=query_scales, document_scales=scales
            ),
        )
    )
    return found


def numpy_loop(work: Workload) -> Contender:
    """One GEMM a document, as most people first write it."""
    flat = work.queries.reshape(-1, work.queries.shape[2])

    def run() -> Any:
        best = np.stack([(flat @ part.T).max(axis=1) for part in work.parts], axis=1)
        return best.reshape(len(work.queries), -1, len(work.parts)).sum(axis=1)

    return Contender("numpy loop", True, 4, run)


def torch_ways(work: Workload) -> list[Contender]:
    """The einsum of torch over padded documents, and PyLate's formula, which masks by multiplication."""
    if not importlib.util.find_spec("torch"):
        return []
    longest = int(work.lengths.max())
    if len(work.lengths) * longest * work.documents.shape[1] * 4 > _MOST_PADDED_BYTES:
        return []
    import torch

    padded = np.zeros((len(work.lengths), longest, work.documents.shape[1]), dtype=np.float32)
    mask = np.arange(longest)[None] < work.lengths[:, None]
    padded[mask] = work.documents
    queries, documents, real = torch.from_numpy(work.queries), torch.from_numpy(padded), torch.from_numpy(mask)
    ragged = not bool(mask.all())

    def einsum() -> Any:
        table = torch.einsum("qsd,ntd->qnst", queries, documents)
        if ragged:
            table = table.masked_fill(~real[None, :, None, :], float("-inf"))
        return table.amax(-1).sum(-1)

    multiplier = real.float()[None, :, None, :]

    def pylate() -> Any:
        table = torch.einsum("ash,bth->abst", queries, documents) * multiplier
        return table.max(dim=-1).values.sum(dim=-1)

    return [Contender("torch einsum + amax", True, 4, einsum), Contender("PyLate colbert_scores", True, 4, pylate)]


def maxsim_cpu(work: Workload) -> list[Contender]:
    """The maxsim-cpu package (Rust)."""
    if not importlib.util.find_spec("maxsim_cpu"):
        return []
    import maxsim_cpu as peer

    if bool((work.lengths == work.lengths[0]).all()):
        padded = work.documents.reshape(len(work.lengths), -1, work.documents.shape[1])
        return [
            Contender(
                "maxsim-cpu", True, 4, lambda: np.stack([peer.maxsim_scores(query, padded) for query in work.queries])
            )
        ]
    return [
        Contender(
            "maxsim-cpu",
            True,
            4,
            lambda: np.stack([peer.maxsim_scores_variable(query, work.parts) for query in work.queries]),
        )
    ]


def numkong(work: Workload) -> list[Contender]:
    """NumKong's packed MaxSim; it returns angular distances, which unit vectors turn back into scores."""
    if not importlib.util.find_spec("numkong"):
        return []
    import numkong as peer

    queries = [peer.maxsim_pack(query) for query in work.queries]
    documents = [peer.maxsim_pack(part) for part in work.parts]
    tokens = work.queries.shape[1]

    def run() -> Any:
        return np.array([[tokens - peer.maxsim_packed(q, d) for d in documents] for q in queries])

    # Its fp32 path picks each winner by int8, so it is not exact; the error column shows by how much.
    return [Contender("NumKong f32 packed", False, 4, run)]


def contenders(work: Workload) -> list[Contender]:
    """Everything that can run here on this workload."""
    return [*torch_ways(work), numpy_loop(work), *maxsim_cpu(work), *numkong(work), *ours(work)]
