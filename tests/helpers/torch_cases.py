"""Random calls in every layout, and their expected results, for the torch and Triton tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from serotine.maxsim import reference
from serotine.maxsim import torch as maxsim
from serotine.maxsim.torch.contrastive import Contrastive
from serotine.maxsim.torch.packed import Packed
from serotine.maxsim.torch.padded import Padded


class Call(NamedTuple):
    """One scoring call: the function's name, its positional arguments and its layout."""

    function: str
    arguments: tuple[Any, ...]
    layout: Any
    queries: torch.Tensor
    documents: torch.Tensor

    def run(self, suffix: str = "", **options: Any) -> Any:
        return getattr(maxsim, self.function + suffix)(*self.arguments, **options)


def padded(seed: int, batch: int, candidates: int, lq: int, ld: int, dim: int, dtype: torch.dtype) -> Call:
    rng = torch.Generator().manual_seed(seed)
    # Values on a coarse grid tie often, and -1 keeps most dot products negative: a leaking zero would win.
    queries = (torch.randint(-8, 9, (batch, lq, dim), generator=rng) / 8).to(dtype)
    documents = (torch.randint(-8, 9, (batch, candidates, ld, dim), generator=rng) / 8 - 1).to(dtype)
    query_lengths = torch.randint(0, lq + 1, (batch,), generator=rng, dtype=torch.int32)
    doc_lengths = torch.randint(0, ld + 1, (batch, candidates), generator=rng)
    arguments = (queries, documents, query_lengths, doc_lengths)
    layout = Padded(query_lengths, doc_lengths)
    return Call("score_candidates_padded", arguments, layout, queries, documents)


def contrastive(seed: int, nq: int, nb: int, lq: int, ld: int, dim: int, dtype: torch.dtype) -> Call:
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, ld + 1, (nb,), generator=rng)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    queries = torch.randn(nq, lq, dim, generator=rng).to(dtype)
    documents = torch.randn(int(offsets[-1]), dim, generator=rng).to(dtype)
    return Call("score_contrastive", (queries, documents, offsets), Contrastive(offsets), queries, documents)


def packed(seed: int, nq: int, nb: int, lq: int, ld: int, dim: int, dtype: torch.dtype) -> Call:
    rng = torch.Generator().manual_seed(seed)
    query_offsets = torch.randint(0, lq + 1, (nq + 1,), generator=rng, dtype=torch.int32).cumsum(0)
    query_offsets = (query_offsets - query_offsets[0]).to(torch.int32)
    document_offsets = torch.randint(0, ld + 1, (nb + 1,), generator=rng).cumsum(0)
    document_offsets -= document_offsets[0].clone()
    queries = torch.randn(int(query_offsets[-1]), dim, generator=rng).to(dtype)
    documents = torch.randn(int(document_offsets[-1]), dim, generator=rng).to(dtype)
    pair_queries = torch.randint(0, nq, (nq * 2,), generator=rng)
    pair_documents = torch.randint(0, nb, (nq * 2,), generator=rng, dtype=torch.int32)
    arguments = (queries, query_offsets, documents, document_offsets, pair_queries, pair_documents)
    max_query_tokens = int(query_offsets.diff().max())
    layout = Packed(query_offsets, document_offsets, pair_queries, pair_documents, max_query_tokens)
    return Call("score_pairs_packed", arguments, layout, queries, documents)


LAYOUTS = {"padded": padded, "contrastive": contrastive, "packed": packed}


def reference_results(call: Call) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and winners of a call from the package's NumPy reference, in float64."""
    pairs = call.layout.pairs(call.queries, call.documents)
    queries = call.queries.detach().double().reshape(-1, call.queries.shape[-1]).numpy()
    documents = call.documents.detach().double().reshape(-1, call.documents.shape[-1]).numpy()
    scores = np.zeros(len(pairs.queries))
    winners = np.full((len(pairs.queries), pairs.width), -1, dtype=np.int32)
    for pair, (q, d) in enumerate(zip(pairs.queries.tolist(), pairs.documents.tolist(), strict=True)):
        query = queries[int(pairs.query_begin[q]) : int(pairs.query_end[q])]
        document = documents[int(pairs.document_begin[d]) : int(pairs.document_end[d])]
        scores[pair] = reference.score(query, document)
        winners[pair, : len(query)] = reference.argmax(query, document)
    return scores.reshape(pairs.shape), winners.reshape(*pairs.shape, pairs.width)


def expected_gradients(call: Call, grad_scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of a call from torch's own autograd, in float64, along the reference's winners."""
    pairs = call.layout.pairs(call.queries, call.documents)
    queries = call.queries.detach().double().requires_grad_()
    documents = call.documents.detach().double().requires_grad_()
    query_rows = queries.reshape(-1, queries.shape[-1])
    document_rows = documents.reshape(-1, documents.shape[-1])
    winners = reference_results(call)[1].reshape(len(pairs.queries), pairs.width)
    total = queries.sum() * 0 + documents.sum() * 0
    for pair, weight in enumerate(grad_scores.flatten().double()):
        query_begin = int(pairs.query_begin[pairs.queries[pair]])
        document_begin = int(pairs.document_begin[pairs.documents[pair]])
        for token, winner in enumerate(winners[pair].tolist()):
            if winner >= 0:
                total = total + weight * query_rows[query_begin + token].dot(document_rows[document_begin + winner])
    total.backward()
    assert queries.grad is not None
    assert documents.grad is not None
    return queries.grad, documents.grad
