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

from serotine.coverage import TextCoverage, warn_about_texts
from serotine.encoders.batching import check_budget
from serotine.encoders.encoder import Encoder
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.tokenization import Token
from serotine.errors import EncoderError, invalid
from serotine.issued_warnings import muted_warnings
from serotine.progress import progress_bar
from serotine.texts import strings

# Ctrl-C and the progress bar wait for tasks to finish.
_TEXTS_PER_TASK = 64

_GUARD = """put the script's statements under 'if __name__ == "__main__":', because every process imports the script"""

# In a worker: its encoder, and the event that cancels its remaining tasks.
_worker_encoder: Encoder | None = None
_canceled: Event | None = None


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
        EncoderError: the encoder cannot be loaded, or the script starts processes without that line.
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
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            # A process of a pool is importing the script that created it; it cannot start processes yet.
            raise EncoderError(f"EncoderPool: {_GUARD}")
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
        self._canceled = context.Event()
        # One call at a time: an interrupted call cancels all tasks.
        self._call_lock = Lock()
        self._executor = ProcessPoolExecutor(
            len(settings), mp_context=context, initializer=_start, initargs=(self._encoder.name, queue, self._canceled)
        )
        # Started here, not by the first texts, because only here can Ctrl-C be blocked from the start.
        with _workers_without_interrupts():
            self._started = [self._executor.submit(_encode, []) for _ in settings]

    def __enter__(self) -> EncoderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; each finishes its current task first."""
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
    def normalizes(self) -> bool:
        """As `Encoder.normalizes`."""
        return self._encoder.normalizes

    @property
    def fingerprint(self) -> str:
        """As `Encoder.fingerprint`."""
        return self._encoder.fingerprint

    @property
    def agreeing_fingerprints(self) -> tuple[str, ...]:
        """As `Encoder.agreeing_fingerprints`."""
        return self._encoder.agreeing_fingerprints

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
        pool = copy.copy(self)
        pool._encoder = self._encoder.with_query_length(length)
        return pool

    def encode_queries(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """Encode queries in this process, as `Encoder.encode_queries`."""
        return self._encoder.encode_queries(texts, show_progress=show_progress)

    @property
    def document_room(self) -> int:
        """As `Encoder.document_room`."""
        return self._encoder.document_room

    def token_spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """As `Encoder.token_spans`."""
        return self._encoder.token_spans(texts)

    def coverage(self, texts: Sequence[str], *, query: bool = False) -> list[TextCoverage]:
        """As `Encoder.coverage`."""
        return self._encoder.coverage(texts, query=query)

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """Return the token of every row, as `Encoder.tokens`."""
        return self._encoder.tokens(text, query=query)

    def passage_tokens(self, document: str, start: int, end: int) -> list[Token]:
        """As `Encoder.passage_tokens`."""
        return self._encoder.passage_tokens(document, start, end)

    def encode_passages(
        self,
        document: str,
        spans: Sequence[tuple[int, int]],
        *,
        allow_empty: bool = False,
        batch_tokens: int | None = None,
    ) -> list[NDArray[np.float32]]:
        """Encode the passages of one document in this process, as `Encoder.encode_passages`."""
        return self._encoder.encode_passages(document, spans, allow_empty=allow_empty, batch_tokens=batch_tokens)

    def encode_documents(
        self, texts: Sequence[str], *, show_progress: bool = False, batch_tokens: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Encode documents in all processes, as `Encoder.encode_documents`; `batch_tokens` is that of each process.

        Ctrl-C ends the call, and the pool stays usable.

        Raises:
            EncoderError: the model fails on them, or a process was killed.
        """
        check_budget(batch_tokens)
        validated = strings(texts, "texts")
        warn_about_texts(self, validated, query=False)
        # Tasks of similar lengths, longest first: little padding, and workers finish at about the same time.
        order = sorted(range(len(validated)), key=lambda i: -len(validated[i]))
        size = min(_TEXTS_PER_TASK, -(-len(order) // self._workers) or 1)
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        encoded: list[NDArray[np.float32]] = [np.empty((0, self.dim), np.float32)] * len(validated)
        with self._call_lock, progress_bar(len(validated), "Encoding", enabled=show_progress) as advance:
            self._canceled.clear()
            tasks: list[Future[list[NDArray[np.float32]]]] = []
            try:
                tasks += [
                    self._executor.submit(_encode, [validated[i] for i in batch], batch_tokens) for batch in batches
                ]
                for batch, task in zip(batches, tasks, strict=True):
                    for i, vectors in zip(batch, task.result(), strict=True):
                        encoded[i] = vectors
                    advance(len(batch))
            except BrokenProcessPool:
                if not any(task.done() and task.exception() is None for task in self._started):
                    raise EncoderError(
                        f"{self.name}: the pool's processes ended before they were ready; in a script, {_GUARD}"
                    ) from None
                raise EncoderError(
                    f"{self.name}: a process of the pool was killed, perhaps out of memory; use fewer processes"
                ) from None
            except BaseException:
                # Cancel the tasks still queued here, and those that workers have already taken.
                self._canceled.set()
                for task in tasks:
                    task.cancel()
                wait(tasks)
                raise
        return encoded


@contextmanager
def _workers_without_interrupts() -> Iterator[None]:
    """Start processes with Ctrl-C blocked, where the system supports it; `_start` ignores it everywhere.

    Ctrl-C reaches every process of a terminal. This process handles it; a worker ended by it would look like a crash.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start(name: str, queue: Queue[dict[str, Any]], canceled: Event) -> None:
    """Initialize a worker."""
    global _worker_encoder, _canceled
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _canceled = canceled
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _worker_encoder = Encoder(name, **queue.get())


def _encode(texts: list[str], batch_tokens: int | None = None) -> list[NDArray[np.float32]]:
    if _worker_encoder is None or _canceled is None:
        raise EncoderError("this worker has not loaded its encoder")
    if _canceled.is_set():
        return []
    with muted_warnings():
        return _worker_encoder.encode_documents(texts, batch_tokens=batch_tokens)
