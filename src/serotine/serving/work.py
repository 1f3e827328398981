"""Work that waits its turn: a few threads, a bounded queue before them, and a limit of time for each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from serotine.serving.failures import overloaded, timed_out

T = TypeVar("T")


class WorkPool:
    """Runs functions on threads, so many at a time; refuses what would wait behind too many.

    Args:
        name: what the threads are called.
        threads: functions that run at a time.
        queue: functions that may wait.
        seconds: how long a caller waits, the time in the queue included.
    """

    def __init__(self, name: str, *, threads: int, queue: int, seconds: float) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = threads + queue
        self._seconds = seconds
        self._pending = 0
        self._counting = threading.Lock()

    @property
    def pending(self) -> int:
        """Functions that run or wait."""
        return self._pending

    async def run(self, function: Callable[[], T], *, seconds: float | None = None, is_change: bool = False) -> T:
        """The function's result; `seconds` in place of the pool's own limit, `is_change` for what it tells on 504.

        Raises:
            Failure: 429 where too many wait, 504 where it took too long. It is not stopped then unless it still
                waited: a thread cannot be, and a change must not be left half done.
        """
        limit = seconds or self._seconds
        future = self.submit(function)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), limit)
        except TimeoutError:
            raise timed_out(limit, still_running=is_change and not future.cancelled()) from None

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Puts a function in the queue.

        Raises:
            Failure: 429 where too many wait.
        """
        with self._counting:
            if self._pending >= self._room:
                raise overloaded(self._pending)
            self._pending += 1
        try:
            future = self._executor.submit(function)
        except BaseException:
            self._done(None)
            raise
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: object) -> None:
        with self._counting:
            self._pending -= 1

    def close(self) -> None:
        """Waits for what runs and drops what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)
