"""The pipelines of `ray.data` in this process, for tests of what they run rather than of where it runs."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class LocalPipelines:
    """`Pipelines` without a cluster: runs the last order first, and sends everything as another process gets it."""

    def __init__(self, _ray: Any = None) -> None:
        pass

    def __enter__(self) -> LocalPipelines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Any, orders: Sequence[Any], **_options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield orders with their results."""
        run: Callable[[Any], Any] = function() if isinstance(function, type) else function
        for order in reversed(orders):
            yield order, _sent(run(_sent(order)))


def _sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
