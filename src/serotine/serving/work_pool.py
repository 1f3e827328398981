"""A bounded thread pool: a few threads, a bounded queue, and a time limit for each caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from serotine.errors import IndexReplacedError
from serotine.serving.errors import overloaded, timed_out

T = TypeVar("T")


class WorkPool:
    """Runs functions on a fixed number of threads and refuses those beyond a bounded queue.

    Args:
        name: prefix of the threads' names.
        threads: functions that run at a time.
        queue: functions that may wait.
        seconds: how long a caller waits, the time in the queue included.
    """

    def __init__(self, name: str, *, threads: int, queue: int, seconds: float) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._capacity = threads + queue
        self._seconds = seconds
        self._pending = 0
        self._lock = threading.Lock()

    @property
    def pending(self) -> int:
        """Functions that run or wait."""
        return self._pending

    async def run(self, function: Callable[[], T], *, seconds: float | None = None, is_change: bool = False) -> T:
        """Return the function's result.

        Args:
            function: the function to run.
            seconds: instead of the pool's own time limit.
            is_change: whether a timeout must say that the change may still be committed. Any other function runs
                again where the index it reads was replaced on disk meanwhile: it asks for the index itself.

        Raises:
            ServerError: 429 where too many functions wait, 504 where it took too long. A function that has started
                runs to its end even then: a thread cannot be stopped, and a change must not be left half done.
        """
        limit = seconds or self._seconds
        future = self.submit(function if is_change else partial(_run_on_current_index, function))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), limit)
        except TimeoutError:
            raise timed_out(limit, still_running=is_change and not future.cancelled()) from None

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Queue a function.

        Raises:
            ServerError: 429 where too many functions wait.
        """
        with self._lock:
            if self._pending >= self._capacity:
                raise overloaded(self._pending)
            self._pending += 1
        try:
            future = self._executor.submit(copy_context().run, function)
        except BaseException:
            self._release(None)
            raise
        future.add_done_callback(self._release)
        return future

    def _release(self, _future: object) -> None:
        with self._lock:
            self._pending -= 1

    def close(self) -> None:
        """Wait for running functions and cancel waiting ones."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _run_on_current_index(function: Callable[[], T]) -> T:
    try:
        return function()
    except IndexReplacedError:
        return function()
