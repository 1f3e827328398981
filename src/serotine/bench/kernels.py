"""`serotine bench kernels`: MaxSim kernels side by side, with their error and their share of the machine."""

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
from serotine.bench.timing import interleaved, median_ratio
from serotine.bench.workloads import Workload, workloads

BASELINES = ("torch einsum + amax", "numpy loop")
_GEMM = 1024
_REST = 0.05
_REPEATED_GIGAFLOP = 3.0
_READ_FLOATS = 64 << 20


@dataclass(frozen=True)
class KernelTiming:
    """One contender on one workload.

    Attributes:
        workload: its shape.
        dim: dimension.
        threads: threads allowed.
        method: the contender.
        exact: whether it claims exact MaxSim over the float32 input.
        milliseconds: median of one run.
        documents_per_second: scores computed a second, in thousands.
        gigaflops: useful multiplications and additions a second.
        of_gemm: that, as a share of the fp32 matrix product measured in the same run.
        of_bandwidth: bytes of documents read a second, as a share of the read rate measured in the same run.
        max_error: largest difference from float64, in units of score (a perfect match of one token is 1).
        relative_error: largest difference from float64 as a share of the score.
        speedup: times as fast as the best exact peer, median over rounds of the ratio within the round.
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
def limited_to(threads: int) -> Iterator[None]:
    """Limit Serotine, torch and BLAS to so many threads."""
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
    ways = {contender.name: contender for contender in contenders(work)}
    errors: dict[str, tuple[float, float]] = {}
    for name, way in ways.items():
        difference = np.abs(np.asarray(way.run(), dtype=np.float64).reshape(work.truth.shape) - work.truth)
        errors[name] = (float(difference.max()), float((difference / np.abs(work.truth)).max()))
    square = np.random.default_rng(1).standard_normal((_GEMM, _GEMM), dtype=np.float32)
    stream = np.ones(_READ_FLOATS, dtype=np.float32)
    rooflines: dict[str, Any] = {"GEMM": lambda: square @ square, "read": lambda: stream.max()}
    # A short run is repeated, so that its data are in the cache and the clock's grain does not count.
    repeats = max(1, int(_REPEATED_GIGAFLOP / max(work.gigaflop, 1e-6)))

    def repeated(run: Any) -> Any:
        def many() -> None:
            for _ in range(repeats):
                run()

        return many

    # The threads of OpenMP and OpenBLAS go on spinning after their work; they must be asleep before the next contender
    # starts, or it is measured on what they leave.
    rest = _REST if threads > 1 else 0.0
    seconds = interleaved(
        {name: repeated(way.run) for name, way in ways.items()} | rooflines, rounds, before=lambda _: time.sleep(rest)
    )
    gemm = 2e-9 * _GEMM**3 / statistics.median(seconds["GEMM"])
    read = stream.nbytes / statistics.median(seconds["read"])
    peers = [name for name, way in ways.items() if way.exact and not name.startswith("serotine")]
    best_peer = min(peers, key=lambda name: statistics.median(seconds[name]))
    rows = []
    for name, way in ways.items():
        spent = statistics.median(seconds[name]) / repeats
        rows.append(
            KernelTiming(
                workload=work.name,
                dim=dim,
                threads=threads,
                method=name,
                exact=way.exact,
                milliseconds=round(spent * 1e3, 4),
                documents_per_second=round(work.pairs / spent / 1e3, 2),
                gigaflops=round(work.gigaflop / spent, 2),
                of_gemm=round(work.gigaflop / spent / gemm, 4),
                of_bandwidth=round(work.documents.size * way.bytes_per_value / spent / read, 4),
                max_error=errors[name][0],
                relative_error=errors[name][1],
                speedup=round(median_ratio(seconds[best_peer], seconds[name]), 3),
            )
        )
    return rows


def measure_kernels(
    dims: Sequence[int], threads: Sequence[int], rounds: int, shapes: Sequence[str]
) -> Iterator[list[KernelTiming]]:
    """Run every shape, dimension and thread count given; yield the rows of one workload at a time.

    Args:
        dims: dimensions.
        threads: thread counts.
        rounds: interleaved rounds of each.
        shapes: first letters or names of the workloads, or empty for all.
    """
    for dim in dims:
        for work in workloads(dim):
            if shapes and not any(work.name.startswith(shape) for shape in shapes):
                continue
            for count in threads:
                with limited_to(count):
                    yield _measure(work, count, rounds)
