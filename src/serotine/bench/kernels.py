"""MaxSim kernels side by side, with their errors and their share of the machine's peak rates."""

from __future__ import annotations

import contextlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serotine import maxsim
from serotine.bench.contenders import contenders
from serotine.bench.timing import median_ratio, time_interleaved
from serotine.bench.workloads import Workload, workloads

_GEMM = 1024
_REST_SECONDS = 0.05
_MIN_GIGAFLOP = 3.0
_READ_FLOATS = 64 << 20


@dataclass(frozen=True)
class KernelTiming:
    """Timing and error of one contender on one workload.

    Attributes:
        workload: name of the workload.
        dim: dimension.
        threads: threads allowed.
        method: name of the contender.
        exact: whether it claims exact MaxSim over the float32 input.
        milliseconds: median of one run.
        documents_per_second: scores per second, in thousands.
        gigaflops: useful multiplications and additions per second, in billions.
        of_gemm: `gigaflops` as a share of the fp32 matrix product measured in the same run.
        of_bandwidth: bytes of documents read per second, as a share of the read rate measured in the same run.
        max_error: largest difference from float64, in units of score (a perfect match of one token is 1).
        relative_error: largest difference from float64 as a share of the score.
        speedup: speed relative to the best exact peer: the median over rounds of the ratio within the round.
    """

    workload: str
    dim: int
    threads: int
    method: str
    exact: bool
    milliseconds: float
    documents_per_second: float
    gigaflops: float
    of_gemm: float
    of_bandwidth: float
    max_error: float
    relative_error: float
    speedup: float


@contextlib.contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Limit Serotine, torch and BLAS to a number of threads."""
    before = maxsim.num_threads()
    maxsim.set_num_threads(threads)
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("threadpoolctl"):
            import threadpoolctl

            stack.enter_context(threadpoolctl.threadpool_limits(threads))
        if "torch" in sys.modules or importlib.util.find_spec("torch"):
            import torch

            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            maxsim.set_num_threads(before)


def _measure(work: Workload, threads: int, rounds: int) -> list[KernelTiming]:
    dim = work.documents.shape[1]
    by_name = {contender.name: contender for contender in contenders(work)}
    errors: dict[str, tuple[float, float]] = {}
    for name, contender in by_name.items():
        scores = np.asarray(contender.run(), dtype=np.float64).reshape(work.reference_scores.shape)
        difference = np.abs(scores - work.reference_scores)
        errors[name] = (float(difference.max()), float((difference / np.abs(work.reference_scores)).max()))
    square = np.random.default_rng(1).standard_normal((_GEMM, _GEMM), dtype=np.float32)
    stream = np.ones(_READ_FLOATS, dtype=np.float32)
    rooflines: dict[str, Any] = {"GEMM": lambda: square @ square, "read": lambda: stream.max()}
    # Repeat short runs: their data stay in the cache, and the clock's resolution matters less.
    repeats = max(1, int(_MIN_GIGAFLOP / max(work.gigaflop, 1e-6)))

    def repeat(run: Any) -> Any:
        def run_all() -> None:
            for _ in range(repeats):
                run()

        return run_all

    # Threads of OpenMP and OpenBLAS spin for a while after their work; let them sleep before the next contender.
    rest = _REST_SECONDS if threads > 1 else 0.0
    timed: dict[str, Any] = {name: repeat(contender.run) for name, contender in by_name.items()} | rooflines
    seconds = time_interleaved(timed, rounds, before=lambda _: time.sleep(rest))
    gemm_gigaflops = 2e-9 * _GEMM**3 / statistics.median(seconds["GEMM"])
    read_rate = stream.nbytes / statistics.median(seconds["read"])
    peers = [name for name, contender in by_name.items() if contender.exact and not name.startswith("serotine")]
    best_peer = min(peers, key=lambda name: statistics.median(seconds[name]))
    rows = []
    for name, contender in by_name.items():
        elapsed = statistics.median(seconds[name]) / repeats
        rows.append(
            KernelTiming(
                workload=work.name,
                dim=dim,
                threads=threads,
                method=name,
                exact=contender.exact,
                milliseconds=round(elapsed * 1e3, 4),
                documents_per_second=round(work.pairs / elapsed / 1e3, 2),
                gigaflops=round(work.gigaflop / elapsed, 2),
                of_gemm=round(work.gigaflop / elapsed / gemm_gigaflops, 4),
                of_bandwidth=round(work.documents.size * contender.bytes_per_value / elapsed / read_rate, 4),
                max_error=errors[name][0],
                relative_error=errors[name][1],
                speedup=round(median_ratio(seconds[best_peer], seconds[name]), 3),
            )
        )
    return rows


def measure_kernels(
    dims: Sequence[int], threads: Sequence[int], rounds: int, shapes: Sequence[str]
) -> Iterator[list[KernelTiming]]:
    """Time every combination of shape, dimension and thread count; yield the timings of each.

    Args:
        dims: dimensions.
        threads: thread counts.
        rounds: interleaved rounds.
        shapes: prefixes of the workloads' names, or empty for all.
    """
    for dim in dims:
        for work in workloads(dim):
            if shapes and not any(work.name.startswith(shape) for shape in shapes):
                continue
            for count in threads:
                with limit_threads(count):
                    timings = _measure(work, count, rounds)
                yield timings
