"""Tile shapes: the sizes fixed by the input, the tuned sizes, and the buckets that make tuning rare.

The numbers of queries, documents and pairs, which change from batch to batch, are not part of the tuning key. The
sizes in the key (query tokens, document tokens, dim) are rounded up to a power of two, so that a service tunes all
its keys within its first few requests.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import triton

# The smallest operand of tl.dot.
_MIN_COLUMNS = 16
# With 128 columns the running maxima spill out of registers (in the code compiled for sm_80 and sm_90).
_MAX_COLUMNS = 64


class TileShape(NamedTuple):
    """Sizes of a tile that follow from the input.

    Attributes:
        block_l: query tokens of a tile; longer queries take several passes over the document.
        group: queries that share one pass over a document.
        block_k: dimensions multiplied at once; with block_k >= dim the query tile stays resident.
        length_bucket: document tokens, rounded up; only selects the tuned configuration.
    """

    block_l: int
    group: int
    block_k: int
    length_bucket: int


def bucket(value: int, low: int, high: int) -> int:
    """Round `value` up to a power of two, between `low` and `high` (both powers of two)."""
    return min(max(1 << max(value - 1, 0).bit_length(), low), high)


def tile_shape(
    query_tokens: int, document_tokens: int, dim: int, item_bytes: int, *, queries: int, exact_fp32: bool
) -> TileShape:
    """Choose the tile for a batch, from bucketed sizes alone.

    Args:
        query_tokens: the longest query.
        document_tokens: the longest document, or the mean where only offsets on the device have the longest.
        dim: dimensions of a token vector.
        item_bytes: bytes of one input value: 2 or 4.
        queries: number of queries scored with the same document; 1 for candidate lists and pairs.
        exact_fp32: fp32 input multiplied on the fp32 pipes, whose operands live in registers.
    """
    block_l = bucket(query_tokens, _MIN_COLUMNS, _MAX_COLUMNS)
    # Two group sizes only, one and full: a size between would be compiled for every batch size.
    full = _MAX_COLUMNS // block_l
    group = full if queries >= full else 1
    max_block_k = 32 if exact_fp32 else 512 // item_bytes
    return TileShape(
        block_l, group, bucket(dim, _MIN_COLUMNS, max_block_k), length_bucket=bucket(document_tokens, 64, 1024)
    )


def configs() -> list[triton.Config]:
    """Return the tunable sizes: document tokens per tile, warps, pipeline stages."""
    choices = [(64, 4, 2), (64, 4, 4), (128, 4, 2), (128, 8, 2), (128, 8, 3)]
    if os.environ.get("TRITON_INTERPRET") == "1":
        choices = choices[:1]  # timings in the interpreter mean nothing
    return [triton.Config({"block_d": d}, num_warps=warps, num_stages=stages) for d, warps, stages in choices]


def plausible(candidates: list[triton.Config], arguments: dict[str, Any], **key: Any) -> list[triton.Config]:
    """Drop the configurations that cannot win for this key, so that tuning takes fewer compilations."""
    sizes = {**arguments, **key}
    if sizes["length_bucket"] > 64 and sizes["precision"] != "ieee":
        return candidates
    # A short document would leave the second half of a 128-token tile empty; fp32 operands would spill.
    return [candidate for candidate in candidates if candidate.kwargs["block_d"] == 64]
