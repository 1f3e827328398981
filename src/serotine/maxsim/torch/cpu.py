"""CPU tensors: the hand-over to the native core, and the only place that knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serotine.maxsim.torch import reference

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Layout


def forward_cpu(
    layout: Layout, queries: Tensor, documents: Tensor, *, allow_nonfinite: bool
) -> tuple[Tensor, Tensor]:
    """Score CPU tensors whose shapes, lengths and offsets have been checked.

    Returns:
        Scores float32 (float64 for float64 input) and winners int32, shaped as the layout says.
    """
    pairs = layout.pairs(queries, documents)
    return reference.score(queries, documents, pairs, allow_nonfinite=allow_nonfinite)
