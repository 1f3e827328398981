"""Collections past one machine: shards that are ordinary indexes, served by Ray, searched like one index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.lazy_names import lazy_names

if TYPE_CHECKING:
    from serotine.distributed.building import BuildReport, build
    from serotine.distributed.manifest import ShardRecord, shard_records
    from serotine.distributed.placement import owner
    from serotine.distributed.sharded_index import ShardedIndex

__all__ = ["BuildReport", "ShardRecord", "ShardedIndex", "build", "owner", "shard_records"]

__getattr__ = lazy_names(
    __name__,
    {
        "BuildReport": "building",
        "ShardRecord": "manifest",
        "ShardedIndex": "sharded_index",
        "build": "building",
        "owner": "placement",
        "shard_records": "manifest",
    },
)
