"""One encoder in several processes: one a GPU, or several on a CPU."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.encoder import Encoder
from serotine.encoders.tokenisation import Token
from serotine.errors import EncoderError
from serotine.progress import progress_bar
from serotine.texts import strings

# Pieces a worker gets of a call: enough for the last to finish at about the same time.
_PIECES_A_WORKER = 4
_FEWEST_TEXTS = 16

# A worker's own encoder.
_loaded: Encoder | None = None


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
            turns.put(settings)
        self._workers = len(each)
        # The name it was found by, not the one it was asked for: a branch of the hub may move in between.
        self._executor = ProcessPoolExecutor(
            len(each), mp_context=context, initializer=_start, initargs=(self._encoder.name, turns)
        )

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

    def encode_queries(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """As `Encoder.encode_queries`, in this process."""
        return self._encoder.encode_queries(texts, show_progress=show_progress)

    def tokens(self, text: str, *, query: bool) -> list[Token]:
        """As `Encoder.tokens`."""
        return self._encoder.tokens(text, query=query)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> list[NDArray[np.float32]]:
        """As `Encoder.encode_documents`, by all processes.

        Raises:
            EncoderError: also when a process was killed.
        """
        checked = strings(texts, "texts")
        size = max(_FEWEST_TEXTS, -(-len(checked) // (self._workers * _PIECES_A_WORKER)))
        pieces: list[Future[list[NDArray[np.float32]]]] = []
        out: list[NDArray[np.float32]] = []
        try:
            starts = range(0, len(checked), size)
            pieces += [self._executor.submit(_encode, checked[start : start + size]) for start in starts]
            with progress_bar(len(checked), "Encoding", enabled=show_progress) as advance:
                for piece in pieces:
                    found = piece.result()
                    out += found
                    advance(len(found))
        except BrokenProcessPool:
            raise EncoderError(
                f"{self.name}: a process of the pool was killed, perhaps for want of memory; use fewer processes"
            ) from None
        finally:
            # After Ctrl-C or an error nothing more is begun.
            for piece in pieces:
                piece.cancel()
        return out


def _start(name: str, turns: Queue[dict[str, Any]]) -> None:
    """What every worker does first."""
    global _loaded
    # Ctrl-C is the parent's to answer; a worker that died of it would look like a failure.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _loaded = Encoder(name, **turns.get())


def _encode(texts: list[str]) -> list[NDArray[np.float32]]:
    if _loaded is None:
        raise EncoderError("this worker has no encoder")
    return _loaded.encode_documents(texts)
