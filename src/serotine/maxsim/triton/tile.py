"""The forward kernel: one program scores a range of query tokens and a range of document tokens.

The query tile stays resident while document tiles stream past. Registers hold a running maximum per (row of the
tile, query token), which is folded across rows once, after the last tile: the loop is one tensor core product,
one comparison and no cross-lane traffic; the similarity matrix never reaches memory. Documents
are the tall operand (64 or 128 rows), which suits Hopper's warp-group instructions even for an 8-token query.

Same pair, same bits: every dot product accumulates over the dimension in one order whatever the tile, and the
sum over query tokens is taken in float64, where adding fp32 values in another order gives the same result.

The input is not read back for validation first. The kernel clamps every length and offset, sets a flag where one
was out of bounds, and another where a dot product was not finite; the caller reads the flags once.
"""

from __future__ import annotations

import triton
import triton.language as tl

from serotine.maxsim.triton.tuning import configs, plausible

PADDED = tl.constexpr(0)
CONTRASTIVE = tl.constexpr(1)
PACKED = tl.constexpr(2)
# Positions in the flag vector; non-zero means that the condition occurred.
NONFINITE = tl.constexpr(0)
BAD_QUERY_BOUNDS = tl.constexpr(1)
BAD_DOCUMENT_BOUNDS = tl.constexpr(2)
BAD_PAIR_IDS = tl.constexpr(3)
_NO_TOKEN = tl.constexpr(2**31 - 1)


@triton.jit
def _clamped_range(offsets: tl.tensor, item: tl.tensor, rows: tl.tensor) -> tl.tensor:
    """Return the begin and length of an item's rows, clamped to [0, rows), and whether they were clamped."""
    first = tl.load(offsets + item).to(tl.int64)
    last = tl.load(offsets + item + 1).to(tl.int64)
    begin = tl.minimum(tl.maximum(first, 0), rows)
    end = tl.minimum(tl.maximum(last, begin), rows)
    return begin, (end - begin).to(tl.int32), (begin != first) | (end != last)


@triton.autotune(
    configs=configs(),
    key=["layout", "block_l", "group", "block_k", "length_bucket", "with_argmax", "precision"],
    prune_configs_by={"early_config_prune": plausible},
)
@triton.jit(
    do_not_specialize=["query_count", "document_count", "query_rows", "document_rows", "length_bucket"],
)
def score_tiles(
    queries: tl.tensor,
    documents: tl.tensor,
    query_bounds: tl.tensor,
    document_bounds: tl.tensor,
    pair_query_ids: tl.tensor,
    pair_document_ids: tl.tensor,
    scores: tl.tensor,
    winners: tl.tensor,
    flags: tl.tensor,
    query_count: tl.tensor,
    document_count: tl.tensor,
    query_rows: tl.tensor,
    document_rows: tl.tensor,
    query_width: tl.tensor,
    document_width: tl.tensor,
    dim: tl.tensor,
    length_bucket: tl.tensor,
    layout: tl.constexpr,
    block_l: tl.constexpr,
    group: tl.constexpr,
    block_k: tl.constexpr,
    resident: tl.constexpr,
    with_argmax: tl.constexpr,
    check_finite: tl.constexpr,
    precision: tl.constexpr,
    block_d: tl.constexpr,
) -> None:
    """Score one pair, or one group of queries with one document; the launchers in `score` have the shapes.

    Tensors are contiguous; bounds are lengths in the padded layout and offsets in the others. `group` is 1
    except in the contrastive layout.
    """
    program = tl.program_id(0).to(tl.int64)
    members = tl.arange(0, group)
    if layout == PADDED:
        pairs = program + members
        member_exists = members == 0
        query_begin = (program // document_count) * query_width
        raw_query = tl.load(query_bounds + program // document_count).to(tl.int64)
        query_len = tl.minimum(tl.maximum(raw_query, 0), query_width).to(tl.int32)
        bad_query = query_len != raw_query
        document_begin = program * document_width
        raw_document = tl.load(document_bounds + program).to(tl.int64)
        document_len = tl.minimum(tl.maximum(raw_document, 0), document_width).to(tl.int32)
        bad_document = document_len != raw_document
    elif layout == CONTRASTIVE:
        # Programs that share a document are neighbors, so that its tokens are still in the cache.
        groups = tl.cdiv(query_count, group)
        document = program // groups
        first_query = (program % groups) * group
        pairs = (first_query + members) * document_count + document
        member_exists = first_query + members < query_count
        query_begin = first_query * query_width
        query_len = query_width
        bad_query = query_width < 0
        document_begin, document_len, bad_document = _clamped_range(document_bounds, document, document_rows)
    else:
        pairs = program + members
        member_exists = members == 0
        raw_query = tl.load(pair_query_ids + program).to(tl.int64)
        raw_document = tl.load(pair_document_ids + program).to(tl.int64)
        query = tl.minimum(tl.maximum(raw_query, 0), query_count - 1)
        document = tl.minimum(tl.maximum(raw_document, 0), document_count - 1)
        out_of_bounds = (query != raw_query) | (document != raw_document)
        tl.store(flags + BAD_PAIR_IDS, 1, mask=out_of_bounds)
        query_begin, query_len, bad_query = _clamped_range(query_bounds, query, query_rows)
        document_begin, document_len, bad_document = _clamped_range(document_bounds, document, document_rows)
        bad_query = bad_query | (query_len > query_width)
        query_len = tl.minimum(query_len, query_width)
    tl.store(flags + BAD_QUERY_BOUNDS, 1, mask=bad_query)
    tl.store(flags + BAD_DOCUMENT_BOUNDS, 1, mask=bad_document)

    columns = tl.arange(0, group * block_l)
    column_member = columns // block_l
    column_token = columns % block_l
    rows_of_tile = tl.arange(0, block_d)
    lanes = tl.arange(0, block_k)
    query_base = queries + query_begin * dim
    document_base = documents + document_begin * dim
    total = tl.zeros([group], dtype=tl.float64)
    nonfinite_rows = tl.zeros([block_d], dtype=tl.float32)

    for token_start in range(0, query_len, block_l):
        tokens = token_start + column_token
        real_column = tokens < query_len
        if layout == CONTRASTIVE:
            real_column = real_column & (first_query + column_member < query_count)
        column_start = (column_member * query_width + tokens) * dim
        if resident:
            query_tile = tl.load(
                query_base + column_start[:, None] + lanes[None, :],
                mask=real_column[:, None] & (lanes < dim)[None, :],
                other=0.0,
            )
        best = tl.full([block_d, group * block_l], float("-inf"), dtype=tl.float32)
        if with_argmax:
            winning_start = tl.zeros([block_d, group * block_l], dtype=tl.int32)
        for start in range(0, document_len, block_d):
            rows = start + rows_of_tile
            real_row = rows < document_len
            if resident:
                document_tile = tl.load(
                    document_base + rows[:, None] * dim + lanes[None, :],
                    mask=real_row[:, None] & (lanes < dim)[None, :],
                    other=0.0,
                )
                similarity = tl.dot(document_tile, tl.trans(query_tile), input_precision=precision)
            else:
                similarity = tl.zeros([block_d, group * block_l], dtype=tl.float32)
                for lane_start in range(0, dim, block_k):
                    strip = lane_start + lanes
                    query_strip = tl.load(
                        query_base + column_start[:, None] + strip[None, :],
                        mask=real_column[:, None] & (strip < dim)[None, :],
                        other=0.0,
                    )
                    document_strip = tl.load(
                        document_base + rows[:, None] * dim + strip[None, :],
                        mask=real_row[:, None] & (strip < dim)[None, :],
                        other=0.0,
                    )
                    similarity = tl.dot(document_strip, tl.trans(query_strip), similarity, input_precision=precision)
            if check_finite:
                # A finite value times zero is zero; NaN and infinity turn the row, and the sum, into NaN.
                nonfinite_rows += tl.sum(similarity * 0.0, axis=1)
            similarity = tl.where(real_row[:, None], similarity, float("-inf"))
            better = similarity > best  # false for NaN, which therefore never wins; false for a later tie
            best = tl.where(better, similarity, best)
            if with_argmax:
                winning_start = tl.where(better, start, winning_start)
        top = tl.max(best, axis=0)
        query_maxima = tl.where(real_column, top, 0.0).to(tl.float64)
        total += tl.sum(tl.reshape(query_maxima, [group, block_l]), axis=1)
        if with_argmax:
            is_best = (best == top[None, :]) & (best > float("-inf"))
            winner = tl.min(tl.where(is_best, winning_start + rows_of_tile[:, None], _NO_TOKEN), axis=0)
            winner = tl.where(winner == _NO_TOKEN, -1, winner)
            column_pair = program + column_member
            if layout == CONTRASTIVE:
                column_pair = (first_query + column_member) * document_count + document
            tl.store(winners + column_pair * query_width + tokens, winner, mask=real_column)

    if check_finite:
        nonfinite_total = tl.sum(nonfinite_rows, axis=0)
        tl.store(flags + NONFINITE, 1, mask=nonfinite_total != nonfinite_total)
    tl.store(scores + pairs, total.to(tl.float32), mask=member_exists)
