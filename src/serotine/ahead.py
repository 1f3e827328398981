"""Items of an iterator that are computed on another thread while the caller works on those before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

Item = TypeVar("Item")


class _End:
    """What follows the last item."""


_END: Final = _End()


def computed_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Yield the items in order, while up to `depth` further ones are computed on one other thread.

    An exception of `items` reaches the caller after the items before it. When the caller ends early, what is being
    computed is finished and dropped. `items` sees the context variables of the first call. Where no thread can start,
    because the interpreter is exiting or the process has too many, every item is computed when it is due.

    >>> list(computed_ahead(number * number for number in range(4)))
    [0, 1, 4, 9]
    """
    iterator = iter(items)
    context = copy_context()
    pending: deque[Future[Item | _End]] = deque()

    def step() -> Item | _End:
        return next(iterator, _END)

    with ThreadPoolExecutor(1, thread_name_prefix="serotine-ahead") as executor:
        has_thread = True
        try:
            while True:
                try:
                    while has_thread and len(pending) < depth + 1:
                        pending.append(executor.submit(context.run, step))
                except RuntimeError:
                    # Do not try again: the failed call has queued its step, whose item a later thread would drop.
                    has_thread = False
                item = pending.popleft().result() if pending else context.run(step)
                if isinstance(item, _End):
                    return
                yield item
        finally:
            for future in pending:
                future.cancel()
