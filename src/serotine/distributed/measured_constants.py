"""Constants of planning, copied from benchmarks/results, which is not installed; a test compares them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeasuredConstants:
    """Figures of benchmarks/results, on one core of the machine that each file names.

    Attributes:
        largest_tokens: million.json: document tokens of the largest index measured.
        largest_search_ms: million.json: median search of it for 10 hits of which 0.99 are asked for; one thread.
        small_tokens: index.json: document tokens of a small index.
        small_search_ms: index.json: median search of it for 10 hits, of which 0.99 are asked for; one thread.
        overhead_bytes_per_token: million.json: bytes beside codes and vectors: centroid numbers, norms, posting lists.
        bytes_per_document: index.json: bytes on disk that are neither codes nor vectors, without texts.
        encoded_tokens_per_second: encoding.json: serotine-mini, native, texts of 96 tokens, one thread.
        encoded_query_ms: encoding.json: serotine-mini, native, a query of 12 tokens, cold caches.
        indexed_tokens_per_second: million.json: the whole build, divided by its cores.
        fan_out: shards.json: number of shards, and the slowest of them as a multiple of the mean: p50, p99.
        merge: shards.json: number of shards, and median milliseconds of merging their hits.
    """

    largest_tokens: float
    largest_search_ms: float
    small_tokens: float
    small_search_ms: float
    overhead_bytes_per_token: float
    bytes_per_document: float
    encoded_tokens_per_second: float
    encoded_query_ms: float
    indexed_tokens_per_second: float
    fan_out: Sequence[tuple[int, float, float]]
    merge: Sequence[tuple[int, float]]

    def search_ms(self, tokens: float) -> float:
        """Return the processor milliseconds of a search of a shard: on the line through both indexes measured."""
        slope = (self.largest_search_ms - self.small_search_ms) / (self.largest_tokens - self.small_tokens)
        return max(self.small_search_ms + slope * (tokens - self.small_tokens), 0.0)

    def slowest(self, shards: int) -> tuple[float, float]:
        """Return p50 and p99 of the slowest of so many shards, as multiples of the mean search of one.

        Interpolated over the logarithm of the number; more shards than were simulated are as the most simulated.
        """
        position = math.log(shards)
        (first, *first_ratios), *rest = self.fan_out
        for last, *last_ratios in rest:
            if shards <= last:
                share = (position - math.log(first)) / (math.log(last) - math.log(first))
                p50, p99 = (low + share * (high - low) for low, high in zip(first_ratios, last_ratios, strict=True))
                return p50, p99
            first, first_ratios = last, last_ratios
        return self.fan_out[-1][1:]

    def merge_ms(self, shards: int) -> float:
        """Return the processor milliseconds of merging hits: in proportion, from the most shards simulated."""
        most, milliseconds = self.merge[-1]
        return milliseconds * shards / most


MEASURED = MeasuredConstants(
    largest_tokens=63_707_801,
    largest_search_ms=12.438,
    small_tokens=1_699_504,
    small_search_ms=2.786,
    overhead_bytes_per_token=8.275,
    bytes_per_document=147.5,
    encoded_tokens_per_second=16_572,
    encoded_query_ms=1.910,
    indexed_tokens_per_second=77_831,
    fan_out=((1, 1.1329, 1.3779), (10, 1.2440, 1.4277), (100, 1.2979, 1.4419), (1000, 1.2979, 1.4419)),
    merge=((10, 0.040701), (100, 0.31029), (1000, 5.7296)),
)
