"""Planning: the machines that a sharded index needs, from measured constants and stated assumptions."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from serotine.distributed.measured_constants import MEASURED, MeasuredConstants
from serotine.errors import invalid, not_one_of

NBITS = (2, 4, 8)
# Larger numbers are mistakes, and would leave the range in which floats are exact.
MAX_QUANTITY = 1e15
Resource = Literal["processors", "memory", "disk"]


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Constants that are not measured.

    Attributes:
        node_cores: processor cores of a node.
        node_memory_gb: memory of a node.
        node_disk_gb: local disk of a node.
        utilization: share of a node's processors, memory and disk that is planned for.
        process_memory_gb: memory of a shard's process, besides its codes.
        text_bytes_per_token: bytes on disk of a token's text and of its part of the word index.
        call_ms: time of a call to a shard and back, by Ray and the network.
    """

    node_cores: float = 16
    node_memory_gb: float = 64
    node_disk_gb: float = 1000
    utilization: float = 0.5
    process_memory_gb: float = 0.5
    text_bytes_per_token: float = 8
    call_ms: float = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sharded index needs.

    Attributes:
        shards: number of shards.
        tokens_per_shard: document tokens of a shard.
        is_extrapolated: whether shards have more tokens than the largest index measured.
        nodes: number of nodes.
        nodes_by_resource: number of nodes that each resource alone would need.
        cost_driver: the resource that needs most nodes.
        memory_bytes: of all nodes: codes in memory, and processes.
        disk_bytes: of all nodes.
        object_bytes: of the snapshots of all shards, once.
        shard_ms: processor milliseconds that a search of one shard takes.
        query_processor_ms: processor milliseconds of one query: encoding, all shards, merging.
        merge_ms: processor milliseconds of merging the hits of all shards.
        build_hours: on all nodes, a shard on each core; reading the files is not included.
        encode_core_hours: of the build, encoding.
        index_core_hours: of the build, indexing.
        latency_p50_ms: expected median latency at the planned utilization.
        latency_p99_ms: its 99th percentile.
    """

    shards: int
    tokens_per_shard: float
    is_extrapolated: bool
    nodes: int
    nodes_by_resource: dict[Resource, int]
    cost_driver: Resource
    memory_bytes: float
    disk_bytes: float
    object_bytes: float
    shard_ms: float
    query_processor_ms: float
    merge_ms: float
    build_hours: float
    encode_core_hours: float
    index_core_hours: float
    latency_p50_ms: float
    latency_p99_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as values that JSON can represent."""
        return asdict(self)


def plan(
    documents: int,
    tokens: float,
    *,
    qps: float,
    nbits: int = 4,
    dim: int = 128,
    keep_vectors: bool = True,
    replicas: int = 1,
    shards: int | None = None,
    assumptions: Assumptions | None = None,
    measured: MeasuredConstants = MEASURED,
) -> Plan:
    """Plan a sharded index; docs/scale-out.md has the formulas.

    Args:
        documents: number of documents.
        tokens: tokens per document, on average.
        qps: queries per second.
        nbits: bits per dimension of the codes.
        dim: dimension of the token vectors.
        keep_vectors: whether float16 vectors are stored beside the codes.
        replicas: processes per shard.
        shards: number of shards; None: so many that none has more tokens than the largest index measured.
        assumptions: what is not measured.
        measured: what is.
    """
    assumed = Assumptions() if assumptions is None else assumptions
    amounts = {"documents": documents, "tokens": tokens, "qps": qps, "dim": dim, "replicas": replicas}
    for name, value in {**amounts, **({} if shards is None else {"shards": shards}), **asdict(assumed)}.items():
        _check_amount(name, value)
    if assumed.utilization >= 1:
        raise invalid("utilization", "below 1", assumed.utilization)
    if nbits not in NBITS:
        raise not_one_of("nbits", NBITS, nbits)

    all_tokens = documents * tokens
    count = math.ceil(all_tokens / measured.largest_tokens) if shards is None else shards
    per_shard = all_tokens / count
    code_bytes = all_tokens * (dim * nbits / 8 + measured.overhead_bytes_per_token)
    stored_bytes = (
        code_bytes
        + all_tokens * ((2 * dim if keep_vectors else 0) + assumed.text_bytes_per_token)
        + documents * measured.bytes_per_document
    )
    memory_bytes = replicas * (code_bytes + count * assumed.process_memory_gb * 1e9)
    shard_ms = measured.search_ms(per_shard)
    merge_ms = measured.merge_ms(count)
    query_ms = measured.encoded_query_ms + count * shard_ms + merge_ms

    def nodes_for(need: float, node_has: float) -> int:
        return math.ceil(need / (node_has * assumed.utilization))

    by_resource: dict[Resource, int] = {
        "processors": nodes_for(qps * query_ms / 1e3, assumed.node_cores),
        "memory": nodes_for(memory_bytes, assumed.node_memory_gb * 1e9),
        "disk": nodes_for(replicas * stored_bytes, assumed.node_disk_gb * 1e9),
    }
    cost_driver = max(by_resource, key=lambda resource: by_resource[resource])
    # A machine's loss must leave the other replicas.
    nodes = max(by_resource[cost_driver], replicas)
    encode_hours = all_tokens / measured.encoded_tokens_per_second / 3600
    index_hours = all_tokens / measured.indexed_tokens_per_second / 3600
    # `build` builds a shard in one task, on one core.
    busy_cores = min(nodes * assumed.node_cores, count)
    slowest_p50, slowest_p99 = measured.slowest(count)
    # Threads share the cores: https://en.wikipedia.org/wiki/Processor_sharing.
    service = shard_ms / (1 - assumed.utilization)
    fixed_ms = measured.encoded_query_ms + assumed.call_ms + merge_ms
    return Plan(
        shards=count,
        tokens_per_shard=per_shard,
        is_extrapolated=per_shard > measured.largest_tokens,
        nodes=nodes,
        nodes_by_resource=by_resource,
        cost_driver=cost_driver,
        memory_bytes=memory_bytes,
        disk_bytes=replicas * stored_bytes,
        object_bytes=stored_bytes,
        shard_ms=shard_ms,
        query_processor_ms=query_ms,
        merge_ms=merge_ms,
        build_hours=(encode_hours + index_hours) / busy_cores,
        encode_core_hours=encode_hours,
        index_core_hours=index_hours,
        latency_p50_ms=fixed_ms + service * slowest_p50,
        latency_p99_ms=fixed_ms + service * slowest_p99,
    )


def _check_amount(name: str, value: float) -> None:
    # Also false for NaN.
    if not 0 < value <= MAX_QUANTITY:
        raise invalid(name, f"above 0, up to {MAX_QUANTITY:g}", value)
