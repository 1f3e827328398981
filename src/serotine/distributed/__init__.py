"""Collections past one machine: shards that are ordinary indexes, served by Ray, searched like one index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.lazy_names import lazy_names

if TYPE_CHECKING:
    from serotine.distributed.building import BuildReport, build
    from serotine.distributed.manifest import ShardRecord, shard_records, shard_settings
    from serotine.distributed.placement import owner
    from serotine.distributed.planning import Assumptions, Plan, plan
    from serotine.distributed.ray_library import connected_ray
    from serotine.distributed.ray_serve import run_on_ray_serve
    from serotine.distributed.sharded_index import ShardedIndex

__all__ = [
    "Assumptions", "BuildReport", "Plan", "ShardRecord", "ShardedIndex", "build", "connected_ray", "owner", "plan",
    "run_on_ray_serve", "shard_records", "shard_settings",
]  # fmt: skip

__getattr__ = lazy_names(
    __name__,
    {
        "Assumptions": "planning",
        "BuildReport": "building",
        "Plan": "planning",
        "ShardRecord": "manifest",
        "ShardedIndex": "sharded_index",
        "build": "building",
        "connected_ray": "ray_library",
        "owner": "placement",
        "plan": "planning",
        "run_on_ray_serve": "ray_serve",
        "shard_records": "manifest",
        "shard_settings": "manifest",
    },
)
