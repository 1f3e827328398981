"""One autograd Function for every layout: the forward saves the winners, along which the backward sends gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from serotine.maxsim.torch import backend
from serotine.maxsim.torch.forward import forward, maxsim_scores
from serotine.maxsim.torch.gradients import document_gradient, query_gradient

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Layout


class _MaxSim(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, documents: Tensor, layout: Layout, allow_nonfinite: bool, allow_tf32: bool
    ) -> Tensor:
        scores, winners = forward(
            layout,
            queries,
            documents,
            with_argmax=True,
            allow_nonfinite=allow_nonfinite,
            allow_tf32=allow_tf32,
        )
        ctx.save_for_backward(queries, documents, winners)
        ctx.layout = layout
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_scores: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        queries, documents, winners = ctx.saved_tensors
        pairs = ctx.layout.pairs(queries, documents)
        d_queries = d_documents = None
        if ctx.needs_input_grad[0]:
            d_queries = query_gradient(grad_scores, winners, pairs, queries, documents)
        if ctx.needs_input_grad[1]:
            d_documents = document_gradient(grad_scores, winners, pairs, queries, documents)
        return d_queries, d_documents, None, None, None


def maxsim_train(
    layout: Layout, queries: Tensor, documents: Tensor, *, allow_nonfinite: bool, allow_tf32: bool
) -> Tensor:
    """Check the call and return its scores, with gradients to whichever tensor requires them."""
    layout.check_shapes(queries, documents)
    needs_gradient = torch.is_grad_enabled() and (queries.requires_grad or documents.requires_grad)
    if not needs_gradient:
        # Without gradients the winners are not needed, and tracking them costs registers.
        return maxsim_scores(layout, queries, documents, allow_nonfinite=allow_nonfinite, allow_tf32=allow_tf32)
    if backend.of(queries) == "mps":
        from serotine.maxsim.torch.mps import forward_mps

        return forward_mps(layout, queries, documents, allow_nonfinite=allow_nonfinite)
    return _MaxSim.apply(queries, documents, layout, allow_nonfinite, allow_tf32)
