"""The forward: from a layout and two tensors to scores, on the device of the tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from serotine.maxsim.torch import backend
from serotine.maxsim.torch.checks import raise_nonfinite
from serotine.maxsim.torch.cpu import forward_cpu

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Layout


def maxsim_scores(
    layout: Layout, queries: Tensor, documents: Tensor, *, allow_nonfinite: bool, allow_tf32: bool
) -> Tensor:
    """Check the call and return its scores, without gradients."""
    layout.check_shapes(queries, documents)
    with torch.no_grad():
        if backend.of(queries) == "mps":
            from serotine.maxsim.torch.mps import forward_mps

            return forward_mps(layout, queries, documents, allow_nonfinite=allow_nonfinite)
        scores, _ = forward(
            layout,
            queries,
            documents,
            with_argmax=False,
            allow_nonfinite=allow_nonfinite,
            allow_tf32=allow_tf32,
        )
    return scores


def maxsim_scores_and_argmax(
    layout: Layout, queries: Tensor, documents: Tensor, *, allow_nonfinite: bool, allow_tf32: bool
) -> tuple[Tensor, Tensor]:
    """Check the call and return its scores and winners, without gradients."""
    layout.check_shapes(queries, documents)
    with torch.no_grad():
        scores, winners = forward(
            layout,
            queries,
            documents,
            with_argmax=True,
            allow_nonfinite=allow_nonfinite,
            allow_tf32=allow_tf32,
        )
    if winners is None:
        raise AssertionError("forward returned no winners")
    return scores, winners


def forward(
    layout: Layout,
    queries: Tensor,
    documents: Tensor,
    *,
    with_argmax: bool,
    allow_nonfinite: bool,
    allow_tf32: bool,
) -> tuple[Tensor, Tensor | None]:
    """Score on CPU or CUDA tensors whose shapes have been checked.

    Raises:
        ValueError: lengths, offsets or ids out of bounds, or non-finite input.
        RuntimeError: a device without a backend.
    """
    device = backend.of(queries)
    if device == "cpu":
        layout.check_values(queries, documents)
        return forward_cpu(
            layout.pairs(queries, documents),
            queries,
            documents,
            with_argmax=with_argmax,
            allow_nonfinite=allow_nonfinite,
        )
    if device == "cuda":
        return _forward_cuda(
            layout,
            queries,
            documents,
            with_argmax=with_argmax,
            check_finite=not allow_nonfinite,
            allow_tf32=allow_tf32,
        )
    if device == "mps":
        raise RuntimeError("MPS has no argmax, only scores and gradients; move the tensors to the CPU")
    raise RuntimeError(f"tensors must be on cpu, cuda or mps, got {device}; move them")


def _forward_cuda(
    layout: Layout,
    queries: Tensor,
    documents: Tensor,
    *,
    with_argmax: bool,
    check_finite: bool,
    allow_tf32: bool,
) -> tuple[Tensor, Tensor | None]:
    try:
        from serotine.maxsim import triton as kernels
    except ImportError as error:
        raise RuntimeError("CUDA tensors need Triton; run: pip install triton, or move them to the CPU") from error
    scores, winners, flags = getattr(kernels, layout.function)(
        *layout.arguments(queries, documents),
        **layout.options(),
        with_argmax=with_argmax,
        check_finite=check_finite,
        allow_tf32=allow_tf32,
    )
    # Nothing may be read back while a CUDA graph is captured; the kernel stays within bounds regardless.
    if not (flags.is_cuda and torch.cuda.is_current_stream_capturing()):
        raise_flags(layout, queries, documents, flags)
    return scores, winners


def raise_flags(layout: Layout, queries: Tensor, documents: Tensor, flags: Tensor) -> None:
    """Raise the contract's exception for the flags that a kernel set; wait for the kernel."""
    nonfinite, *out_of_bounds = flags.tolist()
    if any(out_of_bounds):
        layout.check_values(queries, documents)
    if nonfinite:
        raise_nonfinite()
