"""CPU tensors in the kernel repository: the installed package's compiled core, or plain torch without it.

A noarch kernel holds Python only, so it cannot contain the core. It uses the installed ``serotine`` package if that has
the same version; another version's internals may take other arguments.
"""

from __future__ import annotations

import importlib
import math
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from serotine import __version__
from serotine.maxsim.torch import reference
from serotine.maxsim.torch.checks import raise_nonfinite

if TYPE_CHECKING:
    from torch import Tensor

    from serotine.maxsim.torch.layout import Pairs


@cache
def _installed() -> tuple[Any, str]:
    """Return the installed package's CPU module, or None and the reason."""
    try:
        # By name: an import statement would be rewritten to this kernel's own modules.
        version = importlib.import_module("serotine").__version__
        if version != __version__:
            return None, f"this kernel needs serotine {__version__}, but {version} is installed"
        return importlib.import_module("serotine.maxsim.torch.cpu"), ""
    except ImportError as error:
        return None, f"serotine {__version__} cannot be imported ({error})"


@cache
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"MaxSim on CPU tensors runs in plain torch, one pair at a time: {reason}. "
        f"For the compiled kernels: pip install serotine=={__version__}",
        RuntimeWarning,
        stacklevel=2,
    )


def cpu_backend() -> str:
    """Return what scores CPU tensors: ``compiled``, the core of the installed serotine package, or ``torch``."""
    return "torch" if _installed()[0] is None else "compiled"


def forward_cpu(
    pairs: Pairs, queries: Tensor, documents: Tensor, *, with_argmax: bool, allow_nonfinite: bool
) -> tuple[Tensor, Tensor | None]:
    """Score CPU tensors whose shapes, lengths and offsets have been checked.

    Returns:
        Scores of shape ``pairs.shape``, and winners int32 ``(*pairs.shape, pairs.width)`` with ``with_argmax``.
    """
    installed, reason = _installed()
    if installed is not None:
        result: tuple[Tensor, Tensor | None] = installed.forward_cpu(
            pairs, queries, documents, with_argmax=with_argmax, allow_nonfinite=allow_nonfinite
        )
        return result
    _warn_once(reason)
    if with_argmax or queries.dtype == torch.float64:
        scores, winners = reference.score(queries, documents, pairs, allow_nonfinite=allow_nonfinite)
        return scores, winners if with_argmax else None
    return _scores_only(pairs, queries, documents, allow_nonfinite), None


def _scores_only(pairs: Pairs, queries: Tensor, documents: Tensor, allow_nonfinite: bool) -> Tensor:
    """Return the scores of `reference.score`, bit for bit, without the winners, which take most of its time."""
    query_rows = queries.reshape(-1, queries.shape[-1]).float()
    document_rows = documents.reshape(-1, documents.shape[-1])
    scores = torch.zeros(pairs.queries.shape[0], dtype=torch.float32)
    query_bounds = torch.stack([pairs.query_begin, pairs.query_end], dim=1).tolist()
    document_bounds = torch.stack([pairs.document_begin, pairs.document_end], dim=1).tolist()
    for pair, (q, d) in enumerate(zip(pairs.queries.tolist(), pairs.documents.tolist(), strict=True)):
        query, document = query_rows[slice(*query_bounds[q])], document_rows[slice(*document_bounds[d])]
        if not len(query) or not len(document):
            scores[pair] = -torch.inf if len(query) else 0.0
            continue
        products = query @ document.float().T
        # NaN propagates to both, so these two show whether any value is not finite.
        low, high = map(float, products.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            if not allow_nonfinite:
                raise_nonfinite()
            products = products.masked_fill(products.isnan(), -torch.inf)
        scores[pair] = products.amax(dim=1).double().sum()
    return scores.reshape(pairs.shape)
