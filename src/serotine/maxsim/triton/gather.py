"""The backward kernel: every gradient row sums its own weighted source rows.

Both gradients of MaxSim have this shape. A query token receives the documents' winning rows, a document token
receives the query rows it won for. Entries are grouped by destination beforehand (compressed sparse rows), so
one program writes one destination: no atomics, and the order of the additions is fixed by the input alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from serotine.maxsim.triton.tuning import bucket

if TYPE_CHECKING:
    from torch import Tensor


@triton.jit
def _gather_rows(
    source: tl.tensor,
    source_rows: tl.tensor,
    weights: tl.tensor,
    offsets: tl.tensor,
    out: tl.tensor,
    dim: tl.tensor,
    block_e: tl.constexpr,
    block_k: tl.constexpr,
) -> None:
    destination = tl.program_id(0).to(tl.int64)
    lanes = tl.program_id(1) * block_k + tl.arange(0, block_k)
    begin = tl.load(offsets + destination)
    end = tl.load(offsets + destination + 1)
    total = tl.zeros([block_k], dtype=tl.float32)
    for start in range(begin, end, block_e):
        entries = start + tl.arange(0, block_e)
        rows = tl.load(source_rows + entries, mask=entries < end, other=-1).to(tl.int64)
        has_source = rows >= 0
        weight = tl.load(weights + entries, mask=has_source, other=0.0)
        values = tl.load(
            source + rows[:, None] * dim + lanes[None, :],
            mask=has_source[:, None] & (lanes < dim)[None, :],
            other=0.0,
        )
        total += tl.sum(values.to(tl.float32) * weight[:, None], axis=0)
    tl.store(out + destination * dim + lanes, total.to(out.dtype.element_ty), mask=lanes < dim)


def gather_sum(source: Tensor, source_rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Sum weighted source rows into their destinations, in fp32 and in entry order.

    Args:
        source: [R, D] fp32, fp16 or bf16.
        source_rows: [E] integers; entry e adds this source row; -1 adds none.
        weights: [E] fp32.
        offsets: [S + 1] integers; destination s owns the entries from its offset to the next.

    Returns:
        [S, D] in the dtype of `source`.
    """
    destinations, dim = offsets.shape[0] - 1, source.shape[1]
    out = torch.empty((destinations, dim), dtype=source.dtype, device=source.device)
    if out.numel() == 0:
        return out
    block_k = bucket(dim, 16, 256)
    _gather_rows[(destinations, -(-dim // block_k))](
        source.contiguous(),
        source_rows,
        weights,
        offsets,
        out,
        dim,
        block_e=16,
        block_k=block_k,
        num_warps=2,
    )
    return out
