"""An encoder in several processes: one per GPU, or several on a CPU."""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.encoder import Encoder
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.tokenization import Token
from serotine.errors import EncoderError, invalid
from serotine.progress import progress_bar
from serotine.texts import strings

# Texts per task. Ctrl-C and the progress bar wait until a task has finished.
_TASK_TEXTS = 64

# In a worker: its encoder, and the event that cancels the tasks it still has.
_loaded: Encoder | None = None
_stopped: Event | None = None


class EncoderPool:
    """An `Encoder` whose documents are encoded by several processes; a context manager.

    It replaces an encoder anywhere, as in `Index.create(path, encoder=pool)`. Queries, which come one at a time, are
    encoded in this process. As it starts processes, a script needs ``if __name__ == "__main__":``.

    Args:
        name_or_path: as for `Encoder`.
        devices: one process per device: ["cuda:0", "cuda:1"].
        processes: number of processes on the CPU, which share its cores; instead of `devices`.
        options: other arguments of `Encoder`.

    Raises:
        EncoderError: the encoder cannot be loaded.
        ValueError: neither or both of `devices` and `processes`.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = None,
        *,
        devices: Sequence[str] | None = None,
        processes: int | None = None,
        **options: Any,
    ) -> None:
        if (devices is None) == (processes is None):
            raise ValueError("devices, processes: exactly one of the two is needed")
        if devices is not None and (isinstance(devices, str) or not devices):
            raise invalid("devices", "a list of names such as 'cuda:0'", devices)
        if processes is not None and processes < 1:
            raise invalid("processes", "at least 1", processes)
        settings: list[dict[str, Any]]
        if devices is not None:
            settings = [{**options, "device": device} for device in devices]
        else:
            threads = max(1, (os.cpu_count() or 1) // (processes or 1))
            settings = [{**options, "device": "cpu", "num_threads": threads}] * (processes or 1)
        self._encoder = Encoder(name_or_path, **settings[0])
        context = multiprocessing.get_context("spawn")
        queue: Queue[dict[str, Any]] = context.Queue()
        for arguments in settings:
            # The encoder's name includes the commit; a branch may move in between.
            queue.put({key: value for key, value in arguments.items() if key != "revision"})
        self._workers = len(settings)
        self._stopped = context.Event()
        # One call at a time: an interrupted call cancels all tasks.
        self._one_call = Lock()
        self._executor = ProcessPoolExecutor(
            len(settings), mp_context=context, initializer=_start, initargs=(self._encoder.name, queue, self._stopped)
        )
        # Started here rather than by the first texts, because only here Ctrl-C can be blocked from the start.
        with _workers_without_interrupts():
            for _ in settings:
                self._executor.submit(_encode, [])

    def __enter__(self) -> EncoderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, after the task each is running."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    @property
    def name(self) -> str:
        """As `Encoder.name`."""
        return self._encoder.name

    @property
    def dim(self) -> int:
        """As `Encoder.dim`."""
        return self._encoder.dim

    @property
    def fingerprint(self) -> str:
        """As `Encoder.fingerprint`."""
        return self._encoder.fingerprint

    @property
    def options(self) -> dict[str, Any]:
        """As `Encoder.options`."""
        return self._encoder.options

    @property
    def spec(self) -> EncoderSpec:
        """As `Encoder.spec`."""
        return self._encoder.spec

    def with_query_length(self, length: int) -> EncoderPool:
        """Return this pool with queries of at most `length` tokens; the processes are shared."""
        other = copy.copy(self)
        other._encoder = self._encoder.with_query_length(length)
        return other

    def encode_queries(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encode queries in this process, as `Encoder.encode_queries`."""
        return self._encoder.encode_queries(texts, show_progress=show_progress)

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """Return the token of every row, as `Encoder.tokens`."""
        return self._encoder.tokens(text, query=query)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encode documents in all processes, as `Encoder.encode_documents`.

        Ctrl-C ends the call, and the pool stays usable.

        Raises:
            EncoderError: the model fails on them, or a process was killed.
        """
        checked = strings(texts, "texts")
        # Tasks of similar lengths, longest first: little padding, and workers finish at about the same time.
        order = sorted(range(len(checked)), key=lambda i: -len(checked[i]))
        size = min(_TASK_TEXTS, -(-len(order) // self._workers) or 1)
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        out: list[NDArray[np.float32]] = [np.empty((0, self.dim), np.float32)] * len(checked)
        with self._one_call, progress_bar(len(checked), "Encoding", enabled=show_progress) as advance:
            self._stopped.clear()
            pieces: list[Future[list[NDArray[np.float32]]]] = []
            try:
                pieces += [self._executor.submit(_encode, [checked[i] for i in part]) for part in parts]
                for part, piece in zip(parts, pieces, strict=True):
                    for i, vectors in zip(part, piece.result(), strict=True):
                        out[i] = vectors
                    advance(len(part))
            except BrokenProcessPool:
                raise EncoderError(
                    f"{self.name}: a process of the pool was killed, perhaps out of memory; use fewer processes"
                ) from None
            except BaseException:
                # Cancels the tasks that wait here, and those that workers have already taken.
                self._stopped.set()
                for piece in pieces:
                    piece.cancel()
                wait(pieces)
                raise
        return out


@contextmanager
def _workers_without_interrupts() -> Iterator[None]:
    """Start processes with Ctrl-C blocked, where the system supports it; `_start` ignores it everywhere.

    Ctrl-C reaches every process of a terminal, and this one handles it; a worker that it ends looks like a failure.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(name: str, queue: Queue[dict[str, Any]], stopped: Event) -> None:
    """Initialize a worker."""
    global _loaded, _stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stopped = stopped
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _loaded = Encoder(name, **queue.get())


def _encode(texts: list[str]) -> list[NDArray[np.float32]]:
    if _loaded is None or _stopped is None:
        raise EncoderError("this worker has not loaded its encoder")
    if _stopped.is_set():
        return []
    return _loaded.encode_documents(texts)
