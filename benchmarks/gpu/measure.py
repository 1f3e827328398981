"""Measure the MaxSim kernels on a GPU beside plain torch, with their error, one measurement after another.

    python benchmarks/gpu/measure.py [--out FILE] [--seconds N]

FILE is written after every measurement, and measurements that it has are not repeated, so that an interrupted run goes
on. Without a GPU nothing is measured; `--rehearse` runs everything on the CPU with small sizes, to check the program.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from serotine.bench import describe_machine
from serotine.maxsim import torch as maxsim

ROOT = Path(__file__).parents[2]
REHEARSED_ROUNDS = 2


@dataclass(frozen=True)
class Shape:
    """Sizes of one measurement: `candidates` documents for each of `queries`; contrastive: for all of them."""

    queries: int
    candidates: int
    query_tokens: int
    document_tokens: int
    dim: int = 128

    def rehearsed(self) -> Shape:
        """Return the shape with small sizes."""
        return Shape(min(self.queries, 2), min(self.candidates, 3), 4, 6, 16)


SHAPES = {
    "padded-32x100x32x256": Shape(32, 100, 32, 256),
    "padded-32x50x32x180": Shape(32, 50, 32, 180),
    "packed-32x50x32x180": Shape(32, 50, 32, 180),
    "contrastive-train-32x32x32x80": Shape(32, 32, 32, 80),
    "rerank-1x12500x32x80": Shape(1, 12_500, 32, 80),
}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def vectors(*shape: int, dtype: torch.dtype, device: str, seed: int) -> torch.Tensor:
    """Return random unit vectors."""
    generator = torch.Generator(device).manual_seed(seed)
    drawn = torch.randn(*shape, generator=generator, device=device)
    return torch.nn.functional.normalize(drawn, dim=-1).to(dtype)


def median_ms(call: Callable[[], object], device: str) -> dict[str, float]:
    """Return median, 20th and 80th percentile of a call's milliseconds; a GPU's caches are emptied between calls."""
    if device == "cuda":
        from triton.testing import do_bench

        low, median, high = do_bench(call, warmup=50, rep=300, quantiles=[0.2, 0.5, 0.8])
        return {"median_ms": median, "p20_ms": low, "p80_ms": high}
    times = []
    for _ in range(REHEARSED_ROUNDS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return {"median_ms": statistics.median(times), "p20_ms": min(times), "p80_ms": max(times)}


def copied_bytes_per_second(device: str) -> float:
    """Return what a copy within the device's memory moves, read and written, in bytes a second."""
    size = 2**20 if device == "cpu" else 2**31
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / (median_ms(lambda: target.copy_(source), device)["median_ms"] / 1e3)


def plain_scores(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """Return MaxSim of every query with its candidates as PyLate computes it: all products, then the maxima."""
    return torch.einsum("bqd,bctd->bcqt", queries, documents).amax(-1).sum(-1)


def plain_contrastive(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """Return MaxSim of every query with every document: all products, then the maxima."""
    return torch.einsum("bqd,ctd->bcqt", queries, documents).amax(-1).sum(-1)


def measure_scores(shape: Shape, dtype: torch.dtype, device: str, *, packed: bool) -> dict[str, Any]:
    """Score candidates in the padded or packed layout."""
    queries = vectors(shape.queries, shape.query_tokens, shape.dim, dtype=dtype, device=device, seed=1)
    documents = vectors(
        shape.queries, shape.candidates, shape.document_tokens, shape.dim, dtype=dtype, device=device, seed=2
    )
    query_lengths = torch.full((shape.queries,), shape.query_tokens, device=device)
    document_lengths = torch.full((shape.queries, shape.candidates), shape.document_tokens, device=device)
    pairs = torch.arange(shape.queries * shape.candidates, device=device)

    def ours(allow_nonfinite: bool = False) -> torch.Tensor:
        if not packed:
            return maxsim.score_candidates_padded(
                queries, documents, query_lengths, document_lengths, allow_nonfinite=allow_nonfinite
            )
        return maxsim.score_pairs_packed(
            queries.reshape(-1, shape.dim),
            torch.arange(shape.queries + 1, device=device) * shape.query_tokens,
            documents.reshape(-1, shape.dim),
            torch.arange(len(pairs) + 1, device=device) * shape.document_tokens,
            pairs // shape.candidates,
            pairs,
            max_q_len=shape.query_tokens,
            allow_nonfinite=allow_nonfinite,
        ).reshape(shape.queries, shape.candidates)

    exact = plain_scores(queries[:1].double(), documents[:1].double())
    return {
        "serotine": median_ms(ours, device),
        "serotine, finite input assumed": median_ms(lambda: ours(allow_nonfinite=True), device),
        "torch": median_ms(lambda: plain_scores(queries, documents), device),
        "largest_error": (ours()[:1].double() - exact).abs().max().item(),
        "largest_error_torch": (plain_scores(queries[:1], documents[:1]).double() - exact).abs().max().item(),
        "bytes": documents.numel() * documents.element_size() + queries.numel() * queries.element_size(),
    }


def measure_training(shape: Shape, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Score every query with every document, and take the gradients of cross-entropy."""
    queries = vectors(shape.queries, shape.query_tokens, shape.dim, dtype=dtype, device=device, seed=1)
    documents = vectors(shape.candidates, shape.document_tokens, shape.dim, dtype=dtype, device=device, seed=2)
    offsets = torch.arange(shape.candidates + 1, device=device) * shape.document_tokens
    targets = torch.arange(shape.queries, device=device) % shape.candidates

    def gradients(exact: bool, plain: bool) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = torch.float64 if exact else dtype
        left = queries.detach().to(wanted).requires_grad_()
        right = documents.detach().to(wanted).requires_grad_()
        scores = (
            plain_contrastive(left, right)
            if plain
            else maxsim.score_contrastive_train(left, right.reshape(-1, shape.dim), offsets)
        )
        torch.nn.functional.cross_entropy(scores if exact else scores.float(), targets).backward()  # type: ignore[no-untyped-call]
        if left.grad is None or right.grad is None:
            raise AssertionError("backward left no gradient")
        return left.grad, right.grad

    exact = gradients(exact=True, plain=True)
    errors = {
        name: max(
            (given.double() - wanted).abs().max().item()
            for given, wanted in zip(gradients(exact=False, plain=plain), exact, strict=True)
        )
        for name, plain in (("serotine", False), ("torch", True))
    }
    return {
        "serotine": median_ms(lambda: gradients(exact=False, plain=False), device),
        "torch": median_ms(lambda: gradients(exact=False, plain=True), device),
        "largest_gradient": max(gradient.abs().max().item() for gradient in exact),
        "largest_error": errors["serotine"],
        "largest_error_torch": errors["torch"],
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in (queries, documents)),
    }


def measurement(name: str, shape: Shape, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Return what is measured for a shape and a type of numbers."""
    if name.startswith("contrastive-train"):
        return measure_training(shape, dtype, device)
    return measure_scores(shape, dtype, device, packed=name.startswith("packed"))


def main() -> int:
    """Measure what the file does not have yet; write it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/gpu.json")
    parser.add_argument("--seconds", type=float, default=300.0, help="begin no measurement after these")
    parser.add_argument("--rehearse", action="store_true", help="small sizes on the CPU; the figures mean nothing")
    arguments = parser.parse_args()
    if not arguments.rehearse and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; measure on a machine with one, or give --rehearse")
    started = time.monotonic()
    device = "cpu" if arguments.rehearse else "cuda"
    # Exact float32 products on both sides.
    torch.backends.cuda.matmul.allow_tf32 = False
    stored: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    machine = describe_machine(["serotine", "torch", "triton", "numpy"])
    machine["gpu"] = "none: a rehearsal" if arguments.rehearse else torch.cuda.get_device_name()
    if stored and {**stored["machine"], "date": None} != {**machine, "date": None}:
        parser.error(f"{arguments.out}: holds figures of another machine or other versions; give another --out")
    stored.setdefault("machine", machine)
    if "copied_bytes_per_second" not in stored:
        stored["copied_bytes_per_second"] = copied_bytes_per_second(device)
    rows: dict[str, Any] = stored.setdefault("rows", {})
    for name, shape in SHAPES.items():
        for dtype_name, dtype in DTYPES.items():
            key = f"{name} {dtype_name}"
            if key in rows:
                continue
            if time.monotonic() - started > arguments.seconds:
                print(f"{arguments.seconds:g} seconds are over; run again to measure {key} and what follows")
                return 75
            row = measurement(name, shape.rehearsed() if arguments.rehearse else shape, dtype, device)
            row["share_of_copy_bandwidth"] = (
                row["bytes"] / (row["serotine"]["median_ms"] / 1e3) / stored["copied_bytes_per_second"]
            )
            rows[key] = row
            arguments.out.write_text(json.dumps(stored, indent=1) + "\n")
            print(
                f"{key:40} {row['serotine']['median_ms']:9.4f} ms, torch {row['torch']['median_ms']:9.4f} ms, "
                f"error {row['largest_error']:.1e} (torch {row['largest_error_torch']:.1e}), "
                f"{row['share_of_copy_bandwidth']:.0%} of the copy bandwidth",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
