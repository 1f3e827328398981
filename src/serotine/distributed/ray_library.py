"""The library Ray, where it is installed, and a connection to a cluster that is quiet."""

from __future__ import annotations

import logging
import os
from typing import Any

from serotine.errors import SerotineError, missing_extra


def connected_ray(address: str | None = None) -> Any:
    """Return the module `ray`, connected: to `address`, to a cluster found, or to one started in this process.

    Raises:
        SerotineError: Ray is not installed.
    """
    # Ray warns about this default when it is imported; what the user has set stays.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise SerotineError(missing_extra("serotine.distributed", "ray")) from None
    if not ray.is_initialized():
        ray.init(
            address=address,
            log_to_driver=False,
            # Warnings are about Ray's own configuration.
            logging_level=logging.ERROR,
            include_dashboard=False if address is None and "RAY_ADDRESS" not in os.environ else None,
        )
    return ray


def processors_each(ray: Any, processes: int) -> float:
    """Return how many processors to reserve for each of so many processes: 1, or 0 where fewer are free."""
    return 1.0 if ray.available_resources().get("CPU", 0.0) >= processes else 0.0
