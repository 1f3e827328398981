"""Items of an iterator that are computed on another thread while the caller works on those before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

Item = TypeVar("Item")


class _End:
    """What follows the last item."""


_END: Final = _End()


def computed_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Yield the items in order, while up to `depth` further ones are computed on one other thread.

    An exception of `items` reaches the caller after the items before it. When the caller ends early, what is being
    computed is finished and dropped. `items` sees the context variables of the first call.

    >>> list(computed_ahead(number * number for number in range(4)))
    [0, 1, 4, 9]
    """
    iterator = iter(items)
    context = copy_context()

    def step() -> Item | _End:
        return next(iterator, _END)

    with ThreadPoolExecutor(1, thread_name_prefix="serotine-ahead") as executor:
        pending = deque(executor.submit(context.run, step) for _ in range(depth))
        try:
            while not isinstance(item := pending.popleft().result(), _End):
                pending.append(executor.submit(context.run, step))
                yield item
        finally:
            for future in pending:
                future.cancel()
