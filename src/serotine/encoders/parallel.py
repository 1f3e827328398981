"""One encoder in several processes: one a GPU, or several on a CPU."""

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
from serotine.errors import EncoderError
from serotine.progress import progress_bar
from serotine.texts import strings

# Texts of a piece. One that is begun is finished: so long do Ctrl-C and the progress bar wait.
_PIECE = 64

# A worker's own encoder, and what tells it that nobody waits for the pieces it still has.
_loaded: Encoder | None = None
_stopped: Event | None = None


class EncoderPool:
    """An `Encoder` whose documents are encoded by several processes; a context manager.

    Takes an encoder's place anywhere, `Index.create(path, encoder=pool)` for one. Questions, which come one at a time,
    are encoded in this process. As with everything that starts processes, a script needs its
    ``if __name__ == "__main__":``.

    Args:
        name_or_path: as `Encoder` takes it.
        devices: one process for each: ["cuda:0", "cuda:1"].
        processes: instead: so many on the CPU, which share its cores.
        options: what else `Encoder` takes.

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
            raise ValueError(f"devices: want a list of names such as 'cuda:0', got {devices!r}")
        if processes is not None and processes < 1:
            raise ValueError(f"processes: want at least 1, got {processes}")
        each: list[dict[str, Any]]
        if devices is not None:
            each = [{**options, "device": device} for device in devices]
        else:
            threads = max(1, (os.cpu_count() or 1) // (processes or 1))
            each = [{**options, "device": "cpu", "num_threads": threads}] * (processes or 1)
        self._encoder = Encoder(name_or_path, **each[0])
        context = multiprocessing.get_context("spawn")
        turns: Queue[dict[str, Any]] = context.Queue()
        for settings in each:
            # The name it was found by holds the commit; a branch of the hub may move in between.
            turns.put({key: value for key, value in settings.items() if key != "revision"})
        self._workers = len(each)
        self._stopped = context.Event()
        # Calls of several threads take turns: an interrupted one stops all pieces.
        self._one_call = Lock()
        self._executor = ProcessPoolExecutor(
            len(each), mp_context=context, initializer=_start, initargs=(self._encoder.name, turns, self._stopped)
        )
        # Started here rather than by the first texts, because only here they can be kept from Ctrl-C from the start.
        with _workers_without_interrupts():
            for _ in each:
                self._executor.submit(_encode, [])

    def __enter__(self) -> EncoderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes, after the piece each is at."""
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
        """As `Encoder.with_query_length`; the processes, which encode documents, are shared."""
        other = copy.copy(self)
        other._encoder = self._encoder.with_query_length(length)
        return other

    def encode_queries(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """As `Encoder.encode_queries`, in this process."""
        return self._encoder.encode_queries(texts, show_progress=show_progress)

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """As `Encoder.tokens`."""
        return self._encoder.tokens(text, query=query)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """As `Encoder.encode_documents`, by all processes.

        Ctrl-C ends the call, and leaves the pool ready for another.

        Raises:
            EncoderError: also when a process was killed.
        """
        checked = strings(texts, "texts")
        # Texts of about one length go together, the longest first: little padding, and no worker is last by much.
        order = sorted(range(len(checked)), key=lambda i: -len(checked[i]))
        size = min(_PIECE, -(-len(order) // self._workers) or 1)
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
                    f"{self.name}: a process of the pool was killed, perhaps for want of memory; use fewer processes"
                ) from None
            except BaseException:
                # Nothing more is begun, neither of what waits here nor of the pieces workers hold already.
                self._stopped.set()
                for piece in pieces:
                    piece.cancel()
                wait(pieces)
                raise
        return out


@contextmanager
def _workers_without_interrupts() -> Iterator[None]:
    """Within, processes start with Ctrl-C blocked, where the system can do that; `_start` ignores it everywhere.

    It reaches every process of a terminal and is this one's to answer: a worker that died of it looks like a failure.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(name: str, turns: Queue[dict[str, Any]], stopped: Event) -> None:
    """What every worker does first."""
    global _loaded, _stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stopped = stopped
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _loaded = Encoder(name, **turns.get())


def _encode(texts: list[str]) -> list[NDArray[np.float32]]:
    if _loaded is None or _stopped is None:
        raise EncoderError("this worker has no encoder")
    if _stopped.is_set():
        return []
    return _loaded.encode_documents(texts)
