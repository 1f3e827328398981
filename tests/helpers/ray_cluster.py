"""A Ray cluster of three nodes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


def _started(start: Callable[[], Any]) -> Any:
    """Return what starts; Ray waits 30 seconds for its own processes, which a busy machine may not suffice for."""
    for _ in range(3):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head that runs no shards, and two nodes for them, of which the last may be removed."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEROTINE_SHARDS", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        node = {"object_store_memory": 100 << 20, "include_dashboard": False}
        cluster = _started(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node}))
        try:
            nodes = [cluster.add_node(wait=False, num_cpus=8, object_store_memory=100 << 20) for _ in range(2)]
            cluster.wait_for_nodes()
            cluster.expendable = nodes[1]
            ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
