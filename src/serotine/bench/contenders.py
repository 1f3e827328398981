"""MaxSim implementations to compare: Serotine's kernels and their peers; a peer that is not installed is left out."""

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
# Larger padded float32 copies are not made: they could exhaust the memory.
_MAX_PADDED_BYTES = 4 << 30


@dataclass(frozen=True)
class Contender:
    """A MaxSim implementation, ready to score a workload.

    Attributes:
        name: name in the results.
        exact: whether it claims exact MaxSim over the float32 input.
        bytes_per_value: size of one stored value, for the share of memory bandwidth.
        run: computes all scores, (queries, documents).
    """

    name: str
    exact: bool
    bytes_per_value: int
    run: Callable[[], Any]


def serotine_contenders(work: Workload) -> list[Contender]:
    """Return Serotine's kernels of every dtype; vectors are converted or quantized beforehand, as in an index."""
    offsets = work.offsets
    kernels = [
        Contender("serotine fp32", True, 4, lambda: maxsim.score_contrastive(work.queries, work.documents, offsets))
    ]
    fp16_queries, fp16_documents = work.queries.astype(np.float16), work.documents.astype(np.float16)
    kernels.append(
        Contender("serotine fp16", False, 2, lambda: maxsim.score_contrastive(fp16_queries, fp16_documents, offsets))
    )
    if importlib.util.find_spec("ml_dtypes"):
        import ml_dtypes

        bf16_queries, bf16_documents = (x.astype(ml_dtypes.bfloat16) for x in (work.queries, work.documents))
        kernels.append(
            Contender(
                "serotine bf16", False, 2, lambda: maxsim.score_contrastive(bf16_queries, bf16_documents, offsets)
            )
        )
    query_codes, query_scales = maxsim.quantize(work.queries)
    codes, scales = maxsim.quantize(work.documents)
    kernels.append(
        Contender(
            "serotine int8",
            False,
            1,
            lambda: maxsim.score_contrastive(
                query_codes, codes, offsets, query_scales=query_scales, document_scales=scales
            ),
        )
    )
    return kernels


def numpy_loop(work: Workload) -> Contender:
    """Return one GEMM per document, the first version that most people write."""
    query_tokens = work.queries.reshape(-1, work.queries.shape[2])

    def run() -> Any:
        token_scores = np.stack([(query_tokens @ vectors.T).max(axis=1) for vectors in work.document_vectors], axis=1)
        return token_scores.reshape(len(work.queries), -1, token_scores.shape[1]).sum(axis=1)

    return Contender("numpy loop", True, 4, run)


def torch_contenders(work: Workload) -> list[Contender]:
    """Return torch's einsum over padded documents, and PyLate's formula, which masks by multiplication."""
    if not importlib.util.find_spec("torch"):
        return []
    max_length = int(work.lengths.max())
    if len(work.lengths) * max_length * work.documents.shape[1] * 4 > _MAX_PADDED_BYTES:
        return []
    import torch

    padded = np.zeros((len(work.lengths), max_length, work.documents.shape[1]), dtype=np.float32)
    mask = np.arange(max_length)[None] < work.lengths[:, None]
    padded[mask] = work.documents
    queries, documents, torch_mask = torch.from_numpy(work.queries), torch.from_numpy(padded), torch.from_numpy(mask)
    is_padded = not bool(mask.all())

    def einsum() -> Any:
        table = torch.einsum("qsd,ntd->qnst", queries, documents)
        if is_padded:
            table = table.masked_fill(~torch_mask[None, :, None, :], float("-inf"))
        return table.amax(-1).sum(-1)

    multiplier = torch_mask.float()[None, :, None, :]

    def pylate() -> Any:
        table = torch.einsum("ash,bth->abst", queries, documents) * multiplier
        return table.max(dim=-1).values.sum(dim=-1)

    return [Contender("torch einsum + amax", True, 4, einsum), Contender("PyLate colbert_scores", True, 4, pylate)]


def maxsim_cpu(work: Workload) -> list[Contender]:
    """Return the kernel of the maxsim-cpu package (Rust)."""
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
            lambda: np.stack([peer.maxsim_scores_variable(query, work.document_vectors) for query in work.queries]),
        )
    ]


def numkong(work: Workload) -> list[Contender]:
    """Return NumKong's packed MaxSim; its angular distances of unit vectors are converted to scores."""
    if not importlib.util.find_spec("numkong"):
        return []
    import numkong as peer

    queries = [peer.maxsim_pack(query) for query in work.queries]
    documents = [peer.maxsim_pack(vectors) for vectors in work.document_vectors]
    tokens = work.queries.shape[1]

    def run() -> Any:
        return np.array([[tokens - peer.maxsim_packed(q, d) for d in documents] for q in queries])

    # Not exact: its fp32 path selects each maximum by int8 scores.
    return [Contender("NumKong f32 packed", False, 4, run)]


def contenders(work: Workload) -> list[Contender]:
    """Return every installed contender that can run the workload."""
    return [*torch_contenders(work), numpy_loop(work), *maxsim_cpu(work), *numkong(work), *serotine_contenders(work)]
